//! Time on the processor. Machines that measure are seldom idle: waiting for a core says nothing of
//! a format.

use std::time::{Duration, Instant};

use rustix::time::{ClockId, clock_gettime};

/// A measurement that began.
pub struct Clock {
    wall: Instant,
    thread: Duration,
    process: Duration,
}

/// What a measurement took.
#[derive(Debug, Clone, Copy, Default)]
pub struct Time {
    /// By the clock on the wall.
    pub wall: f64,
    /// Of this thread on a processor.
    pub thread: f64,
    /// Of all threads on processors.
    pub process: f64,
}

fn read(clock: ClockId) -> Duration {
    let time = clock_gettime(clock);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}

impl Clock {
    /// Begins now.
    pub fn start() -> Self {
        Self {
            wall: Instant::now(),
            thread: read(ClockId::ThreadCPUTime),
            process: read(ClockId::ProcessCPUTime),
        }
    }

    /// Seconds since the beginning.
    pub fn stop(&self) -> Time {
        Time {
            wall: self.wall.elapsed().as_secs_f64(),
            thread: (read(ClockId::ThreadCPUTime) - self.thread).as_secs_f64(),
            process: (read(ClockId::ProcessCPUTime) - self.process).as_secs_f64(),
        }
    }
}
