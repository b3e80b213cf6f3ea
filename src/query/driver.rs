//! Drives the reader's machines with bytes from an object store.
//!
//! The machines say which ranges they need; all ranges of one step, merged where that pays, are fetched
//! together, within a budget of bytes that the partitions of a scan share. A permit of
//! the budget is held while its bytes are on the way: fetches always end, so that no two scans can
//! wait for each other.

use std::ops::Range;
use std::sync::Arc;

use arrow::buffer::Buffer;
use datafusion::common::{DataFusionError, Result};
use datafusion::physical_plan::metrics::{Count, Time};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::file::{Machine, Step, merged};

/// Granularity of the budget: semaphores count in 32 bits.
const UNIT: u64 = 1024;
/// Gaps up to this size between two ranges are read along: a request to a store costs more than the
/// bytes.
const REQUEST_GAP: u64 = 16 << 10;

/// Bytes that may be on the way at a time.
#[derive(Debug, Clone)]
pub(crate) struct ByteBudget {
    permits: Arc<Semaphore>,
    total: u32,
}

impl ByteBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        let total = (bytes as u64 / UNIT).clamp(1, 1 << 28) as u32;
        Self {
            permits: Arc::new(Semaphore::new(total as usize)),
            total,
        }
    }

    /// Waits for room; what is larger than the whole budget waits for all of it.
    async fn acquire(&self, bytes: u64) -> Result<OwnedSemaphorePermit> {
        let units = bytes.div_ceil(UNIT).min(u64::from(self.total)) as u32;
        Arc::clone(&self.permits)
            .acquire_many_owned(units)
            .await
            .map_err(|e| DataFusionError::External(Box::new(e)))
    }

    fn bytes(&self) -> u64 {
        u64::from(self.total) * UNIT
    }
}

/// A file in a store, and what reading it costs.
#[derive(Debug, Clone)]
pub(crate) struct StoredFile {
    pub(crate) store: Arc<dyn ObjectStore>,
    pub(crate) path: Path,
    pub(crate) budget: ByteBudget,
    pub(crate) bytes_read: Count,
    pub(crate) requests: Count,
    pub(crate) time_io: Time,
}

impl StoredFile {
    /// A file whose costs nobody wants to know.
    pub(crate) fn unmetered(store: &Arc<dyn ObjectStore>, path: &Path, budget: usize) -> Self {
        Self {
            store: Arc::clone(store),
            path: path.clone(),
            budget: ByteBudget::new(budget),
            bytes_read: Count::new(),
            requests: Count::new(),
            time_io: Time::new(),
        }
    }

    /// One range.
    pub(crate) async fn range(&self, range: Range<u64>) -> Result<Buffer> {
        let _permit = self.budget.acquire(range.end - range.start).await?;
        let _timer = self.time_io.timer();
        let bytes = self.store.get_range(&self.path, range).await?;
        self.requests.add(1);
        self.bytes_read.add(bytes.len());
        Ok(Buffer::from(bytes))
    }

    /// Fetches ranges, in waves that fit the budget, and hands them to the machine.
    async fn feed<M: Machine>(&self, machine: &mut M, ranges: Vec<Range<u64>>) -> Result<()> {
        let mut wave = Vec::new();
        let mut bytes = 0u64;
        for range in merged(ranges, REQUEST_GAP) {
            let len = range.end.saturating_sub(range.start);
            if bytes > 0 && bytes.saturating_add(len) > self.budget.bytes() {
                self.fetch(machine, std::mem::take(&mut wave), bytes)
                    .await?;
                bytes = 0;
            }
            bytes = bytes.saturating_add(len);
            wave.push(range);
        }
        self.fetch(machine, wave, bytes).await
    }

    async fn fetch<M: Machine>(
        &self,
        machine: &mut M,
        ranges: Vec<Range<u64>>,
        bytes: u64,
    ) -> Result<()> {
        if ranges.is_empty() {
            return Ok(());
        }
        let _permit = self.budget.acquire(bytes).await?;
        let timer = self.time_io.timer();
        let pieces = self.store.get_ranges(&self.path, &ranges).await?;
        timer.done();
        self.requests.add(ranges.len());
        for (range, piece) in ranges.iter().zip(pieces) {
            self.bytes_read.add(piece.len());
            machine.deliver(range.start, Buffer::from(piece));
        }
        Ok(())
    }

    /// Steps a machine to its next item.
    pub(crate) async fn next<M: Machine>(&self, machine: &mut M) -> Result<Option<M::Item>> {
        loop {
            match machine.step().map_err(external)? {
                Step::Item(item) => return Ok(Some(item)),
                Step::Done => return Ok(None),
                Step::Need(ranges) => {
                    self.feed(machine, ranges).await?;
                    // Decoding between two fetches takes a while: let other tasks have a turn.
                    tokio::task::yield_now().await;
                }
            }
        }
    }
}

/// An error of ours as one of DataFusion's.
pub(crate) fn external(error: crate::Error) -> DataFusionError {
    DataFusionError::External(Box::new(error))
}
