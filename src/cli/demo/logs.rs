//! The demo's log: what the shop's service wrote in a few days.

use std::fmt::Write as _;
use std::time::Instant;

use super::super::words::plural;
use super::data::Dice;
use super::{Failure, Outcome, Stage};
use crate::encoding::Profile;
use crate::file::File;
use crate::kind::logs::{GrepOptions, ImportOptions, grep, import, restore};
use crate::kind::tables::source::csv::cell::civil;

/// Requests that the service answered.
const REQUESTS: u64 = 40_000;
/// The level of zstd that the log is compared with: its best that still is practical.
const ZSTD: i32 = 19;

/// What is asked, and what for.
const QUERIES: [(&str, &str); 3] = [
    (
        "Lines by level: the level is a column",
        "SELECT level, count(*) AS lines FROM service GROUP BY level ORDER BY lines DESC",
    ),
    (
        "One request, whatever the text around it: only candidate lines are rebuilt",
        "SELECT line_no, line FROM service WHERE line LIKE '%req-00007c4a%' ORDER BY line_no",
    ),
    (
        "A stack trace belongs to its first line: how long are the records of a day",
        "SELECT max(n) AS longest, count(*) AS records FROM (SELECT record, count(*) AS n \
         FROM service WHERE timestamp >= TIMESTAMP '2024-03-02T00:00:00' \
         AND timestamp < TIMESTAMP '2024-03-03T00:00:00' GROUP BY record)",
    ),
];

/// The log's text.
fn text() -> String {
    let mut dice = Dice::new(2);
    let mut text = String::new();
    let mut millis = 1_709_251_200_000;
    for request in 0..REQUESTS {
        millis += 20 + dice.roll(12_000);
        let second = millis / 1_000;
        let (year, month, day) = civil(second as i64 / 86_400);
        let (hour, minute, rest) = (second / 3_600 % 24, second / 60 % 60, second % 60);
        let stamp = format!(
            "{year:04}-{month:02}-{day:02} {hour:02}:{minute:02}:{rest:02}.{:03}",
            millis % 1_000
        );
        let worker = 1 + dice.roll(16);
        let path = ["/cart", "/orders", "/products", "/login"][dice.pick(&[4, 2, 9, 1])];
        let took = 2 + dice.roll(30).min(dice.roll(400));
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "{stamp} INFO  [worker-{worker}] http.Server - req-{request:08x} GET {path}/{} from \
             10.20.{}.{} done in {took} ms, {} bytes",
            dice.roll(90_000),
            dice.roll(4),
            dice.roll(250),
            200 + dice.roll(40_000),
        );
        match dice.roll(400) {
            0 => {
                let _ = writeln!(
                    text,
                    "{stamp} ERROR [worker-{worker}] shop.Payment - req-{request:08x} failed: \
                     java.net.SocketTimeoutException: Read timed out\n\
                     \tat java.net.SocketInputStream.read(SocketInputStream.java:{})\n\
                     \tat shop.Payment.charge(Payment.java:{})\n\
                     \tat shop.Cart.checkout(Cart.java:88)",
                    150 + dice.roll(4),
                    200 + dice.roll(30),
                );
            }
            1..9 => {
                let _ = writeln!(
                    text,
                    "{stamp} WARN  [worker-{worker}] shop.Stock - product {} is low: {} left",
                    dice.roll(90_000),
                    dice.roll(9)
                );
            }
            _ => {}
        }
    }
    text
}

pub(super) fn run(stage: &mut Stage<'_>) -> Outcome<()> {
    let text = text();
    stage.say(&format!(
        "Logs: {} of the shop's service\n",
        plural(text.lines().count() as u64, "line", "lines")
    ))?;
    stage.write("service.log", text.as_bytes())?;
    let zstd = zstd::bulk::compress(text.as_bytes(), ZSTD)
        .map_err(|e| Failure::Message(format!("cannot compress with zstd: {e}")))?;
    let mut sizes = vec![("text", text.len() as u64), ("zstd -19", zstd.len() as u64)];
    for (target, profile, name) in [
        ("service.pil", Profile::Balanced, ".pil, balanced"),
        ("service_archive.pil", Profile::Archive, ".pil, archive"),
    ] {
        let started = Instant::now();
        let options = ImportOptions {
            profile,
            ..ImportOptions::default()
        };
        let sources = [stage.at("service.log")];
        import(&sources, &stage.at(target), &options, &mut |_| ())?;
        stage.imported("service.log", target, started);
        sizes.push((name, stage.size(target)?));
    }
    stage.sizes("Sizes of the log", &sizes)?;
    let mut again = Vec::new();
    restore(&File::open(stage.at("service_archive.pil"))?, &mut again)?;
    stage.write("again.log", &again)?;
    stage.same("service.log", "again.log")?;
    let started = Instant::now();
    let mut found = Vec::new();
    let files = [stage.at("service.pil")];
    let mut failed = None;
    let options = GrepOptions::default();
    grep(&["timed out"], &files, &options, &mut found, &mut |e| {
        failed = Some(e)
    })?;
    if let Some(error) = failed {
        return Err(error.into());
    }
    stage.say(&format!(
        "pilaster grep 'timed out' service.pil finds {} in {:.0} ms\n",
        plural(count_lines(&found), "line", "lines"),
        started.elapsed().as_secs_f64() * 1e3
    ))?;
    stage.name("service")?;
    stage.ask(&QUERIES)
}

fn count_lines(text: &[u8]) -> u64 {
    text.iter().filter(|&&b| b == b'\n').count() as u64
}
