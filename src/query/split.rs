//! Splitting files among partitions by zones.
//!
//! DataFusion would cut by bytes, and not at all below a megabyte; but small files hold many rows
//! here. A [`ZoneShare`] names a part of a file as a fraction, so that the shares of a file tile its
//! zones exactly, whatever the plan believed its row count to be.

use std::ops::Range;
use std::sync::Arc;

use datafusion::common::Statistics;
use datafusion::common::stats::Precision;
use datafusion::datasource::listing::PartitionedFile;
use datafusion_datasource::file_groups::FileGroup;

/// Rows in a zone where the plan does not know better.
const ZONE_ROWS: u64 = 8192;

/// The part `start..end` of `of` equal parts of a file's zones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct ZoneShare {
    start: u64,
    end: u64,
    of: u64,
}

impl ZoneShare {
    /// The whole file.
    const ALL: Self = Self {
        start: 0,
        end: 1,
        of: 1,
    };

    /// What a plan says that is to be read of a file.
    pub(crate) fn of(file: &PartitionedFile) -> Self {
        file.extensions.get::<Self>().copied().unwrap_or(Self::ALL)
    }

    /// The zones of a file with `zones` zones.
    pub(crate) fn zones(self, zones: u64) -> Range<u64> {
        let at = |part: u64| (u128::from(part) * u128::from(zones) / u128::from(self.of)) as u64;
        at(self.start)..at(self.end)
    }
}

/// Cuts groups of files into about `target` groups of as many zones. Files keep their order; with
/// `ordered`, no new group holds files of two old ones. `None` if nothing is gained.
pub(crate) fn split(groups: &[FileGroup], target: usize, ordered: bool) -> Option<Vec<FileGroup>> {
    let shared = |f: &PartitionedFile| f.extensions.get::<ZoneShare>().is_some();
    let files: usize = groups.iter().map(FileGroup::len).sum();
    if target < 2 || files == 0 || groups.iter().flat_map(FileGroup::iter).any(shared) {
        return None;
    }
    let result = match ordered {
        false => {
            let files: Vec<_> = groups.iter().flat_map(FileGroup::iter).collect();
            cut(&files, target)
        }
        true => {
            let parts = parts_of_groups(groups, target);
            let cut_group =
                |(group, parts): (&FileGroup, usize)| cut(&group.iter().collect::<Vec<_>>(), parts);
            groups.iter().zip(parts).flat_map(cut_group).collect()
        }
    };
    (result.len() > groups.len()).then_some(result)
}

/// How many parts each group is cut into: the one with the largest parts is cut again.
fn parts_of_groups(groups: &[FileGroup], target: usize) -> Vec<usize> {
    let zones: Vec<u64> = groups
        .iter()
        .map(|group| group.iter().map(zones_of).sum())
        .collect();
    let mut parts = vec![1; groups.len()];
    for _ in groups.len()..target {
        let largest = (0..groups.len())
            .filter(|&i| zones[i] > parts[i] as u64)
            .max_by_key(|&i| (zones[i] / parts[i] as u64, std::cmp::Reverse(i)));
        match largest {
            Some(i) => parts[i] += 1,
            None => break,
        }
    }
    parts
}

/// Cuts a sequence of files into at most `parts` groups of consecutive zones.
fn cut(files: &[&PartitionedFile], parts: usize) -> Vec<FileGroup> {
    let total: u64 = files.iter().map(|f| zones_of(f)).sum();
    let parts = (parts as u64).min(total).max(1);
    let mut groups = vec![Vec::new(); parts as usize];
    let mut before = 0;
    for file in files {
        let zones = zones_of(file);
        let mut start = 0;
        while start < zones {
            // The group that holds zone `before + start`, and the zone where the next one begins.
            let group = u128::from(before + start) * u128::from(parts) / u128::from(total);
            let next = ((group + 1) * u128::from(total)).div_ceil(u128::from(parts)) as u64;
            let end = zones.min(next - before);
            let mut part = (*file).clone();
            if start > 0 || end < zones {
                part.extensions.insert(ZoneShare {
                    start,
                    end,
                    of: zones,
                });
                part.statistics = part.statistics.map(inexact);
            }
            groups[group as usize].push(part);
            start = end;
        }
        before += zones;
    }
    groups
        .into_iter()
        .filter(|files| !files.is_empty())
        .map(FileGroup::new)
        .collect()
}

/// Bounds of a file are true of its parts; counts are not.
fn inexact(statistics: Arc<Statistics>) -> Arc<Statistics> {
    Arc::new(Arc::unwrap_or_clone(statistics).to_inexact())
}

fn zones_of(file: &PartitionedFile) -> u64 {
    let rows = file.statistics.as_ref().map(|s| s.num_rows);
    match rows {
        Some(Precision::Exact(rows) | Precision::Inexact(rows)) => {
            (rows as u64).div_ceil(ZONE_ROWS).max(1)
        }
        // Nothing is known: some rows a byte, so that the file can be shared at all.
        _ => (file.object_meta.size / (64 * 1024)).clamp(1, 1 << 20),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::datatypes::Schema;

    fn file(name: &str, rows: usize) -> PartitionedFile {
        let mut statistics = Statistics::new_unknown(&Schema::empty());
        statistics.num_rows = Precision::Exact(rows);
        PartitionedFile::new(name, 10).with_statistics(Arc::new(statistics))
    }

    #[test]
    fn shares_tile_each_file_once() {
        for target in 2..10 {
            for rows in [1, 8192, 8193, 100_000, 1_000_000] {
                let groups = [FileGroup::new(vec![file("a", rows), file("b", 3 * rows)])];
                let cut = split(&groups, target, false);
                let groups = cut.as_deref().unwrap_or(&groups);
                assert!(groups.len() <= target);
                // The row count of the plan may be wrong: any number of zones is tiled.
                for zones in [0, 1, 2, 13, 1000] {
                    for name in ["a", "b"] {
                        let mut next = 0;
                        for f in groups.iter().flat_map(FileGroup::iter) {
                            if f.path().as_ref() == name {
                                let share = ZoneShare::of(f).zones(zones);
                                assert_eq!(share.start, next);
                                next = share.end;
                            }
                        }
                        assert_eq!(next, zones);
                    }
                }
            }
        }
    }

    #[test]
    fn parts_are_of_equal_size() {
        let groups = [FileGroup::new(vec![file("a", 800_000)])];
        let cut = split(&groups, 4, false).unwrap();
        let sizes: Vec<_> = cut
            .iter()
            .map(|g| {
                let zones = ZoneShare::of(&g.files()[0]).zones(98);
                zones.end - zones.start
            })
            .collect();
        assert_eq!(sizes.iter().sum::<u64>(), 98);
        assert!(sizes.iter().all(|s| (24..=25).contains(s)), "{sizes:?}");
    }

    #[test]
    fn ordered_groups_are_not_mixed() {
        let groups = [
            FileGroup::new(vec![file("a", 50_000), file("b", 50_000)]),
            FileGroup::new(vec![file("c", 10_000)]),
        ];
        let cut = split(&groups, 4, true).unwrap();
        assert_eq!(cut.len(), 4);
        for group in &cut {
            let has = |name| group.iter().any(|f| f.path().as_ref() == name);
            assert!(!(has("c") && (has("a") || has("b"))));
        }
    }

    #[test]
    fn nothing_is_cut_twice() {
        let groups = [FileGroup::new(vec![file("a", 800_000)])];
        let cut = split(&groups, 2, false).unwrap();
        assert!(split(&cut, 4, false).is_none());
    }
}
