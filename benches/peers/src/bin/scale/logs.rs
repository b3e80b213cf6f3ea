//! A long log of several services.

use std::fs::File;
use std::io::{BufRead, BufReader, BufWriter, Write};

use pilaster_peers::Result;

use super::bench::Bench;
use super::generate::mixed;

const LINES: usize = 5_000_000;
/// Milliseconds between two lines.
const STEP: usize = 37;

fn level(i: usize) -> &'static str {
    match mixed(i as u64 ^ 0x1e7e1) % 100 {
        0..3 => "ERROR",
        3..10 => "WARN",
        _ => "INFO",
    }
}

/// The time of a line, on the days from 2024-03-01 on; the set ends before that month does.
fn time(i: usize) -> String {
    let millis = i * STEP;
    let (day, rest) = (millis / 86_400_000, millis % 86_400_000);
    format!(
        "2024-03-{:02}T{:02}:{:02}:{:02}.{:03}Z",
        1 + day,
        rest / 3_600_000,
        rest / 60_000 % 60,
        rest / 1_000 % 60,
        rest % 1_000
    )
}

fn line(i: usize) -> String {
    let (time, level, number) = (time(i), level(i), mixed(i as u64));
    match number % 4 {
        0 => format!(
            "{time} {level} [worker-{}] user-{i:08} session {} heartbeat ok",
            number >> 60,
            i * 7
        ),
        1 => format!(
            "{time} {level} [http] GET /items/{} took {} ms",
            number % 9_973,
            number >> 54
        ),
        2 => format!(
            "{time} {level} [db] query {:016x} returned {} rows",
            number,
            number >> 50
        ),
        _ => format!(
            "{time} {level} [cache] evicted key k{} after {} hits",
            number >> 44,
            number % 17
        ),
    }
}

pub fn run(bench: &mut Bench) -> Result<()> {
    let lines = bench.count(LINES);
    let source = bench.path("service.log");
    let mut out = BufWriter::new(File::create(&source)?);
    for i in 0..lines {
        writeln!(out, "{}", line(i))?;
    }
    out.flush()?;
    drop(out);
    let count = |keep: &dyn Fn(usize) -> bool| (0..lines).filter(|&i| keep(i)).count() as i128;
    let levels = ["ERROR", "INFO", "WARN"].map(|l| format!("{l},{}", count(&|i| level(i) == l)));
    let evicted = count(&|i| line(i).contains("evicted key") && line(i).contains("after 16 hits"));
    let middle = lines / 2;
    // Some line of the middle that tells its user, which no other line has.
    let unique = (middle..lines)
        .find(|&i| mixed(i as u64) % 4 == 0)
        .unwrap_or(0);
    let needle = format!("user-{unique:08} session");
    for profile in bench.profiles.clone() {
        let file = bench.import(&profile, lines, &[&source], &["--kind", "logs"])?;
        let t = format!("'{}'", file.display());
        let name = file.display().to_string();
        bench.expect_numbers(
            &format!("SELECT count(*), min(line_no), max(line_no) FROM {t}"),
            &[lines as i128, 1, lines as i128],
        );
        bench.expect(
            &format!("SELECT level, count(*) FROM {t} GROUP BY level ORDER BY level"),
            &levels,
        );
        bench.expect(
            &format!("SELECT line_no, line FROM {t} WHERE line LIKE '%{needle}%'"),
            &[format!("{},{}", unique + 1, line(unique))],
        );
        bench.expect_numbers(
            &format!("SELECT count(*) FROM {t} WHERE line LIKE '%evicted key%after 16 hits%'"),
            &[evicted],
        );
        bench.expect_numbers(
            &format!(
                "SELECT count(*) FROM {t} WHERE timestamp >= '{}'",
                time(middle)
            ),
            &[(lines - middle) as i128],
        );
        let found = bench.must(&["grep", "-n", &needle, &name])?.out;
        let wanted = format!("{}:{}\n", unique + 1, line(unique));
        bench.answered(
            found == wanted,
            &format!("{profile}: grep found {found:?}, not {wanted:?}"),
        );
        let absent = bench.run(&["grep", "-c", "no line says this", &name])?;
        bench.answered(
            absent.code == 1,
            &format!("{profile}: grep found {:?}", absent.out),
        );
        let back = bench.path("service-back.log");
        bench.must(&["-q", "export", &name, &back.display().to_string()])?;
        let mut reader = BufReader::new(File::open(&back)?);
        let mut text = String::new();
        let mut first_wrong = None;
        for i in 0..=lines {
            text.clear();
            reader.read_line(&mut text)?;
            let wanted = (i < lines).then(|| line(i) + "\n").unwrap_or_default();
            if text != wanted {
                first_wrong = first_wrong.or(Some(i));
            }
        }
        bench.answered(
            first_wrong.is_none(),
            &format!("{profile}: line {first_wrong:?} of the export"),
        );
        std::fs::remove_file(back)?;
        std::fs::remove_file(file)?;
    }
    std::fs::remove_file(source)?;
    Ok(())
}
