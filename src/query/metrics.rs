//! What `EXPLAIN ANALYZE` shows of a scan.

use datafusion::physical_plan::metrics::{
    Count, ExecutionPlanMetricsSet, MetricBuilder, MetricCategory, MetricType, PruningMetrics, Time,
};

/// The metrics of one partition of a scan.
#[derive(Debug, Clone)]
pub(crate) struct ScanMetrics {
    /// Files that the filter excludes, by partition values, statistics and dynamic filters.
    pub(crate) files_pruned: PruningMetrics,
    /// Zones that the filter of the query excludes.
    pub(crate) zones_by_statistics: PruningMetrics,
    /// Zones that a filter excludes which other operators tightened meanwhile.
    pub(crate) zones_by_dynamic_filter: PruningMetrics,
    /// Rows that bounds of a distance exclude before their vectors are decoded.
    pub(crate) rows_by_distance: PruningMetrics,
    /// Bytes of all fetched ranges.
    pub(crate) bytes_read: Count,
    /// Values that were decoded, those of hidden columns too.
    pub(crate) values_decoded: Count,
    /// Requests to the store.
    pub(crate) requests: Count,
    /// Footers that were in the cache.
    pub(crate) footer_cache_hits: Count,
    /// Zone maps that could not be read and were done without.
    pub(crate) zone_maps_unreadable: Count,
    /// Predicates that could not be turned into bounds.
    pub(crate) predicate_errors: Count,
    /// Time spent waiting for the store.
    pub(crate) time_io: Time,
    /// Time spent decoding and filtering.
    pub(crate) time_decode: Time,
}

impl ScanMetrics {
    pub(crate) fn new(set: &ExecutionPlanMetricsSet, partition: usize) -> Self {
        let summary = || MetricBuilder::new(set).with_type(MetricType::Summary);
        let dev = || MetricBuilder::new(set).with_type(MetricType::Dev);
        Self {
            files_pruned: summary().pruning_metrics("files_pruned", partition),
            zones_by_statistics: summary().pruning_metrics("zones_pruned_statistics", partition),
            zones_by_dynamic_filter: summary()
                .pruning_metrics("zones_pruned_dynamic_filter", partition),
            rows_by_distance: summary().pruning_metrics("rows_pruned_distance", partition),
            bytes_read: summary()
                .with_category(MetricCategory::Bytes)
                .counter("bytes_read", partition),
            values_decoded: summary()
                .with_category(MetricCategory::Rows)
                .counter("values_decoded", partition),
            requests: dev()
                .with_category(MetricCategory::Uncategorized)
                .counter("requests", partition),
            footer_cache_hits: dev()
                .with_category(MetricCategory::Uncategorized)
                .counter("footer_cache_hits", partition),
            zone_maps_unreadable: dev()
                .with_category(MetricCategory::Uncategorized)
                .counter("zone_maps_unreadable", partition),
            predicate_errors: dev()
                .with_category(MetricCategory::Uncategorized)
                .counter("predicate_creation_errors", partition),
            time_io: dev()
                .with_category(MetricCategory::Timing)
                .subset_time("time_io", partition),
            time_decode: dev()
                .with_category(MetricCategory::Timing)
                .subset_time("time_decode", partition),
        }
    }
}
