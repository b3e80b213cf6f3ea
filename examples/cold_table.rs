//! A cold table: written for speed and for size, and read with a filter.
//!
//! The flights of a made-up airline. Its columns say much about each other: a route has one distance
//! and nearly one duration, an aircraft has one type, arrival follows departure. `archive` finds that
//! by itself and codes each column given others.
//!
//! ```text
//! cargo run --example cold_table --no-default-features
//! ```

use std::path::Path;
use std::sync::Arc;

use arrow::array::{ArrayRef, AsArray, Int32Array, Int64Array, RecordBatch, StringArray};
use arrow::datatypes::Int64Type;
use pilaster::file::Layout;
use pilaster::kind::tables::layout::ArchiveLayout;
use pilaster::{Compare, CompareOp, File, Profile, Result, ScanRequest, WriteOptions, Writer};

const ROWS: usize = 100_000;
const AIRPORTS: [&str; 8] = ["ZRH", "GVA", "LHR", "CDG", "MUC", "VIE", "FCO", "MAD"];
const TYPES: [&str; 3] = ["A220-300", "A320neo", "A321"];

/// A small generator, so that the example needs no crate for it.
struct Dice(u64);

impl Dice {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn flights() -> Result<RecordBatch> {
    let mut dice = Dice(1);
    let (mut from, mut to, mut aircraft, mut model) = (vec![], vec![], vec![], vec![]);
    let (mut distance, mut departure, mut arrival) = (vec![], vec![], vec![]);
    let mut minute = 0i64;
    for _ in 0..ROWS {
        let a = dice.below(8) as usize;
        let b = (a + 1 + dice.below(7) as usize) % 8;
        let tail = dice.below(60);
        let km = 300 + 170 * (a.abs_diff(b) as i32) + 11 * (a + b) as i32;
        minute += dice.below(4) as i64;
        from.push(AIRPORTS[a]);
        to.push(AIRPORTS[b]);
        aircraft.push(format!("HB-J{tail:02}"));
        model.push(TYPES[tail as usize % 3]);
        distance.push(km);
        departure.push(minute);
        arrival.push(minute + 30 + i64::from(km) / 13 + dice.below(6) as i64);
    }
    Ok(RecordBatch::try_from_iter([
        ("from", Arc::new(StringArray::from(from)) as ArrayRef),
        ("to", Arc::new(StringArray::from(to))),
        ("aircraft", Arc::new(StringArray::from(aircraft))),
        ("type", Arc::new(StringArray::from(model))),
        ("km", Arc::new(Int32Array::from(distance))),
        ("departure", Arc::new(Int64Array::from(departure))),
        ("arrival", Arc::new(Int64Array::from(arrival))),
    ])?)
}

fn write(table: &RecordBatch, path: &Path, profile: Profile) -> Result<u64> {
    let layout: Option<Box<dyn Layout>> = match profile {
        Profile::Archive => Some(Box::new(ArchiveLayout::default())),
        _ => None,
    };
    let options = WriteOptions {
        profile,
        layout,
        ..WriteOptions::default()
    };
    let mut writer = Writer::create(path, table.schema(), options)?;
    writer.write(table)?;
    Ok(writer.finish()?.bytes)
}

fn main() -> Result<()> {
    let table = flights()?;
    let folder = std::env::temp_dir();
    let name = |profile: &str| folder.join(format!("flights-{profile}-{}.pil", std::process::id()));
    let (balanced, archive) = (name("balanced"), name("archive"));

    println!(
        "{ROWS} flights, {} bytes in memory",
        table.get_array_memory_size()
    );
    println!(
        "balanced  {:>8} bytes",
        write(&table, &balanced, Profile::Balanced)?
    );
    println!(
        "archive   {:>8} bytes",
        write(&table, &archive, Profile::Archive)?
    );

    // Departures after a certain minute: zone maps rule out most of the file. Only the columns that
    // are asked for are decoded, and those that they were coded with.
    let file = File::open(&archive)?;
    let (to, departure, arrival) = (1, 5, 6);
    let last = table
        .column(departure)
        .as_primitive::<Int64Type>()
        .value(ROWS - 1);
    let late = Int64Array::new_scalar(last - 600);
    let late = Compare::new(&file, departure, CompareOp::Ge, &late)?;
    let mut scan = file.scan(ScanRequest::columns([to, arrival]).filter(late))?;
    let (mut flights, mut to_madrid, mut latest) = (0, 0, 0i64);
    for batch in scan.by_ref() {
        let batch = batch?;
        let towns = batch.column(0).as_string::<i32>();
        flights += batch.num_rows();
        to_madrid += towns.iter().filter(|t| *t == Some("MAD")).count();
        let arrivals = batch.column(1).as_primitive::<Int64Type>();
        latest = latest.max(arrivals.iter().flatten().max().unwrap_or(0));
    }
    println!(
        "{flights} flights in the last ten hours, {to_madrid} to Madrid; the latest lands {} minutes after the last departure",
        latest - last
    );
    let metrics = scan.metrics();
    println!(
        "{} of {} zones pruned, {} of {} bytes read",
        metrics.zones_pruned,
        metrics.zones,
        metrics.bytes_read,
        file.meta().size()
    );

    for path in [balanced, archive] {
        std::fs::remove_file(&path).map_err(|e| pilaster::Error::io("cannot remove a file", e))?;
    }
    Ok(())
}
