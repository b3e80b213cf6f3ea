//! A log: archived, searched, and given back to the byte.
//!
//! ```text
//! cargo run --example log_archive --no-default-features
//! ```

use std::fmt::Write as _;
use std::io::Cursor;

use pilaster::kind::logs::{GrepOptions, ImportOptions, grep, import_into, restore};
use pilaster::{Error, File, Profile, Result};

/// What a small service wrote: requests, and now and then a failure with its stack trace.
fn log() -> String {
    let mut text = String::new();
    for i in 0..50_000u64 {
        let (minute, second) = (i / 60 % 60, i % 60);
        let user = i.wrapping_mul(2_654_435_761) % 9_973;
        // Writing to a string cannot fail.
        let _ = writeln!(
            text,
            "2024-03-01 {:02}:{minute:02}:{second:02} INFO user {user} opened session {:08x} in {} ms",
            i / 3_600,
            i.wrapping_mul(0x9e37_79b9) & 0xffff_ffff,
            user % 90
        );
        if i % 7_000 == 6_999 {
            let _ = writeln!(
                text,
                "2024-03-01 {:02}:{minute:02}:{second:02} ERROR user {user} was cut off\n\tat shop.Session.read(Session.java:88)",
                i / 3_600
            );
        }
    }
    text
}

fn main() -> Result<()> {
    let text = log();
    let path = std::env::temp_dir().join(format!("service-{}.pil", std::process::id()));
    let options = ImportOptions {
        profile: Profile::Archive,
        ..ImportOptions::default()
    };
    let reader: Box<dyn std::io::Read> = Box::new(Cursor::new(text.clone().into_bytes()));
    let mut sources = std::iter::once(Ok(("service.log".to_owned(), reader)));
    let sink = pilaster::file::write::AtomicFile::create(&path)?;
    let done = import_into(sink, &mut sources, &options, &mut |_| ())?;
    println!(
        "{} lines, {} bytes of text in {} bytes",
        done.lines, done.bytes_in, done.bytes_out
    );

    let options = GrepOptions {
        line_number: true,
        after: 1,
        ..GrepOptions::default()
    };
    let files = std::slice::from_ref(&path);
    let mut failed = |e: Error| eprintln!("{e}");
    grep(
        &["was cut off"],
        files,
        &options,
        &mut std::io::stdout(),
        &mut failed,
    )?;

    let mut again = Vec::new();
    restore(&File::open(&path)?, &mut again)?;
    println!("the same bytes: {}", again == text.as_bytes());
    std::fs::remove_file(&path).map_err(|e| Error::io("cannot remove the file", e))
}
