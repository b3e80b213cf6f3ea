//! A progress bar for what takes longer than a second, on a terminal only.

use std::io::IsTerminal;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Time after which a bar appears.
const PATIENCE: Duration = Duration::from_secs(1);

/// A bar that appears when it is needed.
pub(super) struct Meter {
    allowed: bool,
    bytes: bool,
    started: Instant,
    bar: Option<ProgressBar>,
}

impl Meter {
    /// A meter of bytes, or else of things counted.
    pub(super) fn new(quiet: bool, bytes: bool) -> Self {
        let dumb = std::env::var_os("TERM").is_some_and(|t| t == "dumb");
        let plain = std::env::var_os("NO_COLOR").is_some_and(|v| !v.is_empty());
        Self {
            allowed: !quiet && !dumb && !plain && std::io::stderr().is_terminal(),
            bytes,
            started: Instant::now(),
            bar: None,
        }
    }

    /// Says how much is done of how much, and what is being done.
    pub(super) fn update(&mut self, done: u64, total: u64, what: &str) {
        if !self.allowed || self.started.elapsed() < PATIENCE {
            return;
        }
        let bytes = self.bytes;
        let bar = self.bar.get_or_insert_with(|| {
            let bar =
                ProgressBar::with_draw_target(Some(total), ProgressDrawTarget::stderr_with_hz(10));
            let template = match bytes {
                true => "{bar:30} {bytes}/{total_bytes} {bytes_per_sec} eta {eta} {msg}",
                false => "{bar:30} {human_pos}/{human_len} eta {eta} {msg}",
            };
            if let Ok(style) = ProgressStyle::with_template(template) {
                bar.set_style(style);
            }
            bar
        });
        bar.set_length(total);
        bar.set_position(done.min(total));
        if bar.message() != what {
            bar.set_message(what.to_owned());
        }
    }

    /// Takes the bar off the screen and tells the time that passed.
    pub(super) fn finish(self) -> Duration {
        if let Some(bar) = self.bar {
            bar.finish_and_clear();
        }
        self.started.elapsed()
    }
}
