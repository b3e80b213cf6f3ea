//! The demo's data: a shop's orders and customers, made up by rule and a fixed seed.
//!
//! There is structure in it, as in real tables, which coding across columns finds: the city gives
//! the country, the product its category and price, the total is price times quantity, and each
//! customer belongs to one of a few kinds that no column names but that sway product, quantity and
//! payment.

use std::fmt::Write as _;
use std::io::{self, BufWriter, Write};
use std::path::Path;

use crate::encoding::random;
use crate::kind::tables::source::csv::cell::civil;

pub(super) const ORDERS: u64 = 100_000;
pub(super) const CUSTOMERS: u64 = 5_000;

/// Numbers that look random and are the same every time.
pub(super) struct Dice(u64);

impl Dice {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn roll(&mut self, sides: u64) -> u64 {
        random::next(&mut self.0) % sides
    }

    /// The place of a weight, each as likely as it is heavy.
    pub(super) fn pick(&mut self, weights: &[u64]) -> usize {
        let mut rest = self.roll(weights.iter().sum());
        for (i, weight) in weights.iter().enumerate() {
            if rest < *weight {
                return i;
            }
            rest -= weight;
        }
        0
    }
}

const CITIES: [(&str, &str); 12] = [
    ("Lisbon", "Portugal"),
    ("Porto", "Portugal"),
    ("Madrid", "Spain"),
    ("Sevilla", "Spain"),
    ("Valencia", "Spain"),
    ("Lyon", "France"),
    ("Paris", "France"),
    ("Torino", "Italy"),
    ("Napoli", "Italy"),
    ("Gent", "Belgium"),
    ("Utrecht", "Netherlands"),
    ("Basel", "Switzerland"),
];

const PRODUCTS: [(&str, &str, u64); 16] = [
    ("Notebook A5", "Paper", 349),
    ("Notebook A4", "Paper", 499),
    ("Copy paper, 500 sheets", "Paper", 579),
    ("Envelope C5, 100", "Paper", 1_290),
    ("Ballpoint, blue", "Pens", 120),
    ("Fountain pen", "Pens", 3_450),
    ("Marker set", "Pens", 899),
    ("Desk lamp", "Furniture", 4_590),
    ("Office chair", "Furniture", 18_900),
    ("Standing desk", "Furniture", 44_900),
    ("Shelf, oak", "Furniture", 12_900),
    ("Toner, black", "Printing", 7_990),
    ("Toner, colour", "Printing", 9_990),
    ("Label printer", "Printing", 6_950),
    ("Coffee, 1 kg", "Kitchen", 1_690),
    ("Mug", "Kitchen", 750),
];

/// What each kind of customer buys.
const TASTES: [[u64; 16]; 4] = [
    [20, 8, 4, 1, 25, 6, 10, 4, 1, 0, 2, 1, 0, 1, 8, 9],
    [2, 6, 40, 12, 10, 0, 4, 2, 1, 0, 1, 14, 6, 1, 6, 1],
    [1, 1, 2, 0, 1, 1, 1, 12, 22, 18, 14, 1, 1, 4, 6, 3],
    [4, 2, 6, 8, 2, 14, 2, 2, 1, 1, 1, 6, 8, 20, 2, 1],
];

const PAYMENTS: [&str; 4] = ["card", "invoice", "transfer", "wallet"];
const PAYS: [[u64; 4]; 4] = [
    [70, 2, 3, 25],
    [4, 88, 8, 0],
    [6, 34, 60, 0],
    [30, 30, 30, 10],
];
const BATCH: [u64; 4] = [2, 30, 6, 12];
const NOTES: [&str; 5] = [
    "leave at the door",
    "call before delivery",
    "gift, no invoice in the parcel",
    "deliver to the back entrance",
    "urgent",
];

struct Customer {
    city: usize,
    kind: usize,
}

/// Cents as a decimal with two digits.
fn money(cents: u64) -> String {
    format!("{}.{:02}", cents / 100, cents % 100)
}

/// Writes `customers.csv` and `orders.csv` into a directory.
pub(super) fn make(folder: &Path) -> io::Result<()> {
    let mut dice = Dice::new(1);
    let customers = make_customers(&folder.join("customers.csv"), &mut dice)?;
    make_orders(&folder.join("orders.csv"), &customers, &mut dice)
}

fn make_customers(path: &Path, dice: &mut Dice) -> io::Result<Vec<Customer>> {
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    writeln!(out, "customer_id,name,city,country,since,credit_limit")?;
    let mut customers = Vec::new();
    for id in 1..=CUSTOMERS {
        let customer = Customer {
            city: dice.pick(&[9, 4, 14, 5, 6, 7, 18, 6, 5, 3, 6, 2]),
            kind: dice.pick(&[55, 20, 10, 15]),
        };
        let (city, country) = CITIES[customer.city];
        let (year, month, day) = civil(15_000 + dice.roll(4_000) as i64);
        let limit = match customer.kind {
            0 => String::new(),
            kind => (kind as u64 * 5_000 + dice.roll(20) * 500).to_string(),
        };
        writeln!(
            out,
            "{id},Customer {id:05},{city},{country},{year:04}-{month:02}-{day:02},{limit}"
        )?;
        customers.push(customer);
    }
    out.flush()?;
    Ok(customers)
}

fn make_orders(path: &Path, customers: &[Customer], dice: &mut Dice) -> io::Result<()> {
    let mut out = BufWriter::new(std::fs::File::create(path)?);
    writeln!(
        out,
        "order_id,ordered_at,customer_id,city,country,product,category,unit_price,quantity,total,\
         payment,status,note"
    )?;
    let mut second = 1_704_067_200;
    let mut line = String::new();
    for i in 0..ORDERS {
        second += 60 + dice.roll(500);
        // Some customers buy far more often than others.
        let who = dice.roll(CUSTOMERS).min(dice.roll(CUSTOMERS)) as usize;
        let customer = &customers[who];
        let (city, country) = CITIES[customer.city];
        let (product, category, price) = PRODUCTS[dice.pick(&TASTES[customer.kind])];
        let quantity = 1 + dice
            .roll(BATCH[customer.kind])
            .min(dice.roll(BATCH[customer.kind]));
        let payment = PAYMENTS[dice.pick(&PAYS[customer.kind])];
        let status = match i * 100 / ORDERS {
            0..97 => ["delivered", "returned", "cancelled"][dice.pick(&[94, 4, 2])],
            _ => ["shipped", "open"][dice.pick(&[60, 40])],
        };
        let note = match dice.roll(25) {
            0 => NOTES[dice.roll(5) as usize],
            _ => "",
        };
        let quote = if note.contains(',') { "\"" } else { "" };
        let name_quote = if product.contains(',') { "\"" } else { "" };
        let (year, month, day) = civil(second as i64 / 86_400);
        let time = second % 86_400;
        line.clear();
        // Writing to a string cannot fail.
        let _ = writeln!(
            line,
            "{},{year:04}-{month:02}-{day:02} {:02}:{:02}:{:02},{},{city},{country},\
             {name_quote}{product}{name_quote},{category},{},{quantity},{},{payment},{status},\
             {quote}{note}{quote}",
            100_001 + i,
            time / 3_600,
            time / 60 % 60,
            time % 60,
            who + 1,
            money(price),
            money(price * quantity),
        );
        out.write_all(line.as_bytes())?;
    }
    out.flush()
}
