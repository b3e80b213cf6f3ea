//! Dates, timestamps and booleans as cells: read only in the one form that prints back.

use super::style::{BoolStyle, TimeForm, Zone};

/// Days since 1970-01-01 of a date of the Gregorian calendar.
fn days(year: i64, month: i64, day: i64) -> i64 {
    // Years are counted from March, so that the leap day is the last of its year.
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

/// Year, month and day of a day since 1970-01-01.
pub(crate) fn civil(days: i64) -> (i64, u32, u32) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = (day_of_year - (153 * month_from_march + 2) / 5 + 1) as u32;
    let month = ((month_from_march + 2) % 12 + 1) as u32;
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

/// A number of exactly the digits of a short text.
fn digits(text: &[u8]) -> Option<i64> {
    let mut value = 0;
    for b in text {
        let d = b.wrapping_sub(b'0');
        if d > 9 {
            return None;
        }
        value = value * 10 + i64::from(d);
    }
    Some(value)
}

/// `YYYY-MM-DD` as days since 1970-01-01.
pub(crate) fn date(cell: &[u8]) -> Option<i32> {
    if cell.len() != 10 || cell[4] != b'-' || cell[7] != b'-' {
        return None;
    }
    let (year, month, day) = (
        digits(&cell[..4])?,
        digits(&cell[5..7])?,
        digits(&cell[8..])?,
    );
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    let last = match month {
        1 | 3 | 5 | 7 | 8 | 10 | 12 => 31,
        4 | 6 | 9 | 11 => 30,
        2 => 28 + i64::from(leap),
        _ => return None,
    };
    (1..=last)
        .contains(&day)
        .then(|| days(year, month, day) as i32)
}

/// What follows a time.
pub(crate) fn zone(text: &[u8]) -> Option<Zone> {
    match text {
        [] => Some(Zone::None),
        [b'Z'] => Some(Zone::Utc),
        [sign @ (b'+' | b'-'), h1, h2, b':', m1, m2] => {
            let (hours, minutes) = (digits(&[*h1, *h2])?, digits(&[*m1, *m2])?);
            if hours > 23 || minutes > 59 {
                return None;
            }
            let negative = *sign == b'-';
            let size = (hours * 60 + minutes) as i16;
            Some(Zone::Offset {
                minutes: if negative { -size } else { size },
                negative,
            })
        }
        _ => None,
    }
}

/// Ticks a second has in the unit of a timestamp with so many digits behind the second.
pub(crate) fn ticks(fraction: u8) -> i64 {
    match fraction {
        0 => 1,
        1..=3 => 1_000,
        4..=6 => 1_000_000,
        _ => 1_000_000_000,
    }
}

/// A timestamp in its form, as ticks since 1970 in UTC.
pub(crate) fn timestamp(cell: &[u8]) -> Option<(TimeForm, i64)> {
    if cell.len() < 16 || cell[13] != b':' {
        return None;
    }
    let space = match cell[10] {
        b' ' => true,
        b'T' => false,
        _ => return None,
    };
    let day = i64::from(date(&cell[..10])?);
    let (hour, minute) = (digits(&cell[11..13])?, digits(&cell[14..16])?);
    let mut rest = &cell[16..];
    let seconds = rest.first() == Some(&b':');
    let mut second = 0;
    let mut fraction = 0u8;
    let mut part = 0;
    if seconds {
        second = digits(rest.get(1..3)?)?;
        rest = &rest[3..];
        if rest.first() == Some(&b'.') {
            let count = rest[1..].iter().take_while(|b| b.is_ascii_digit()).count();
            if !(1..=9).contains(&count) {
                return None;
            }
            fraction = count as u8;
            part = digits(&rest[1..=count])?;
            rest = &rest[1 + count..];
        }
    }
    if hour > 23 || minute > 59 || second > 59 {
        return None;
    }
    let form = TimeForm {
        space,
        seconds,
        fraction,
        zone: zone(rest)?,
    };
    let unit = ticks(fraction);
    let digits_of_unit = unit.ilog10();
    part *= 10i64.pow(digits_of_unit - u32::from(fraction));
    let mut total = day * 86_400 + hour * 3_600 + minute * 60 + second;
    if let Zone::Offset { minutes, .. } = form.zone {
        total -= i64::from(minutes) * 60;
    }
    let value = total.checked_mul(unit)?.checked_add(part)?;
    Some((form, value))
}

/// A boolean and its spelling.
pub(crate) fn boolean(cell: &[u8]) -> Option<(BoolStyle, bool)> {
    Some(match cell {
        b"true" => (BoolStyle::Lower, true),
        b"false" => (BoolStyle::Lower, false),
        b"True" => (BoolStyle::Title, true),
        b"False" => (BoolStyle::Title, false),
        b"TRUE" => (BoolStyle::Upper, true),
        b"FALSE" => (BoolStyle::Upper, false),
        _ => return None,
    })
}

/// Appends a number of a fixed count of digits.
fn print_digits(out: &mut Vec<u8>, value: i64, width: u32) {
    for place in (0..width).rev() {
        let digit = value / 10i64.pow(place) % 10;
        out.push(b'0' + digit.unsigned_abs() as u8);
    }
}

/// Years that are printed, here and by the formatters of other exports.
const YEARS: std::ops::RangeInclusive<i64> = -262_143..=262_142;

/// Appends `YYYY-MM-DD`; years outside 0..=9999 get a sign and as many digits as they need. False if the
/// year is too far off.
pub(crate) fn print_date(out: &mut Vec<u8>, day: i64) -> bool {
    // Far more days than there are years to print, and far fewer than overflow.
    let (year, month, date) = civil(day.clamp(-1 << 40, 1 << 40));
    if !YEARS.contains(&year) {
        return false;
    }
    if (0..=9999).contains(&year) {
        print_digits(out, year, 4);
    } else {
        out.extend_from_slice(format!("{year:+05}").as_bytes());
    }
    out.push(b'-');
    print_digits(out, i64::from(month), 2);
    out.push(b'-');
    print_digits(out, i64::from(date), 2);
    true
}

/// Appends a timestamp of `unit` ticks a second in a form. False if the year is too far off.
pub(crate) fn print_timestamp(out: &mut Vec<u8>, value: i64, unit: i64, form: &TimeForm) -> bool {
    let mut second = value.div_euclid(unit);
    let part = value.rem_euclid(unit);
    if let Zone::Offset { minutes, .. } = form.zone {
        second = second.saturating_add(i64::from(minutes) * 60);
    }
    if !print_date(out, second.div_euclid(86_400)) {
        return false;
    }
    let time = second.rem_euclid(86_400);
    out.push(if form.space { b' ' } else { b'T' });
    print_digits(out, time / 3_600, 2);
    out.push(b':');
    print_digits(out, time / 60 % 60, 2);
    if form.seconds {
        out.push(b':');
        print_digits(out, time % 60, 2);
    }
    if form.fraction > 0 {
        out.push(b'.');
        let spare = unit.ilog10().saturating_sub(u32::from(form.fraction));
        print_digits(out, part / 10i64.pow(spare), u32::from(form.fraction));
    }
    match form.zone {
        Zone::None => {}
        Zone::Utc => out.push(b'Z'),
        Zone::Offset { minutes, negative } => {
            out.push(if negative { b'-' } else { b'+' });
            let size = i64::from(minutes.unsigned_abs());
            print_digits(out, size / 60, 2);
            out.push(b':');
            print_digits(out, size % 60, 2);
        }
    }
    true
}

/// Appends a boolean.
pub(crate) fn print_boolean(out: &mut Vec<u8>, value: bool, style: BoolStyle) {
    let text: &[u8] = match (style, value) {
        (BoolStyle::Lower, true) => b"true",
        (BoolStyle::Lower, false) => b"false",
        (BoolStyle::Title, true) => b"True",
        (BoolStyle::Title, false) => b"False",
        (BoolStyle::Upper, true) => b"TRUE",
        (BoolStyle::Upper, false) => b"FALSE",
    };
    out.extend_from_slice(text);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_day_of_four_centuries_prints_back() {
        let mut last = None;
        for day in -146_097..146_097 {
            let mut text = Vec::new();
            assert!(print_date(&mut text, day));
            assert_eq!(date(&text), Some(day as i32));
            assert!(last < Some(text.clone()));
            last = Some(text);
        }
        assert_eq!(date(b"1970-01-01"), Some(0));
        assert_eq!(date(b"2000-03-01"), Some(11_017));
        for bad in [
            &b"2023-02-29"[..],
            b"2023-13-01",
            b"2023-00-10",
            b"2023-1-001",
            b"1900-02-29",
        ] {
            assert_eq!(date(bad), None);
        }
    }

    #[test]
    fn times_too_far_off_are_not_printed() {
        let form = timestamp(b"2024-02-29T23:59:58-05:30").unwrap().0;
        for (value, unit) in [
            (i64::MAX, 1),
            (i64::MIN, 1),
            (i64::MAX, 1_000),
            (i64::MIN, 1_000_000),
        ] {
            assert!(!print_timestamp(&mut Vec::new(), value, unit, &form));
        }
        assert!(print_timestamp(
            &mut Vec::new(),
            i64::MAX,
            1_000_000_000,
            &form
        ));
        assert!(!print_date(&mut Vec::new(), i64::from(i32::MAX)));
        let mut text = Vec::new();
        assert!(print_date(&mut text, 95_000_000));
        assert_eq!(text, b"+262071-03-02");
    }

    #[test]
    fn timestamps_print_back_in_their_form() {
        let forms = [
            "2024-02-29T23:59:58",
            "2024-02-29 23:59",
            "1969-12-31 23:59:59.5",
            "0001-01-01T00:00:00.123456",
            "2024-02-29T23:59:58.000000001Z",
            "2024-02-29 23:59:58.1234-05:30",
            "2024-02-29 23:59:58+00:00",
            "2024-02-29 23:59:58-00:00",
        ];
        for text in forms {
            let (form, value) = timestamp(text.as_bytes()).unwrap();
            let mut out = Vec::new();
            assert!(print_timestamp(
                &mut out,
                value,
                ticks(form.fraction),
                &form
            ));
            assert_eq!(String::from_utf8(out).unwrap(), text);
        }
        for bad in [
            "2024-02-29T24:00:00",
            "2024-02-29T23:59:60",
            "2024-02-29 23:59:58 Z",
            "2024-02-29T23:59:58.",
            "9999-01-01T00:00:00.000000001",
            "2024-02-29T23:59:58+0100",
        ] {
            assert_eq!(timestamp(bad.as_bytes()), None, "{bad}");
        }
    }
}
