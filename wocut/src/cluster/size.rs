//! How much memory, as text.

use std::{fmt, str::FromStr};

use crate::model::ParseError;

/// An amount of memory in bytes, more than none, as in `512M`, `1.5G` or `1048576`. Units are binary: `1K` is 1024.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Size(u64);

const UNITS: [(char, u32); 4] = [('T', 40), ('G', 30), ('M', 20), ('K', 10)];

impl Size {
    /// So many bytes, if there are any.
    pub fn of(bytes: u64) -> Option<Self> {
        (bytes > 0).then_some(Self(bytes))
    }

    /// In bytes.
    pub fn bytes(self) -> u64 {
        self.0
    }
}

impl FromStr for Size {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let error = |why: &str| ParseError::new(text, "a size", why);
        let upper = text.to_ascii_uppercase();
        let upper = upper.strip_suffix("IB").or_else(|| upper.strip_suffix('B')).unwrap_or(&upper);
        let unit = UNITS.iter().find_map(|(unit, shift)| Some((upper.strip_suffix(*unit)?, *shift)));
        let (number, shift) = unit.unwrap_or((upper, 0));
        let (whole, part) = number.split_once('.').unwrap_or((number, "0"));
        let digits = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(part) || part.len() > 6 || (shift == 0 && number.contains('.')) {
            return Err(error("it is a number and K, M, G or T, as in `512M` or `1.5G`"));
        }
        let bytes = || {
            let whole = whole.parse::<u64>().ok()?.checked_mul(1 << shift)?;
            let tens = 10u128.pow(u32::try_from(part.len()).ok()?);
            let part = (part.parse::<u128>().ok()? << shift) / tens;
            whole.checked_add(part.try_into().ok()?)
        };
        match bytes().ok_or_else(|| error("that is more than 16 million T"))? {
            0 => Err(error("it is more than nothing")),
            bytes => Ok(Self(bytes)),
        }
    }
}

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (unit, shift) in UNITS {
            let whole = self.0 >> shift;
            // One digit after the point, cut off: it is for reading.
            let tenth = ((u128::from(self.0) * 10) >> shift) % 10;
            match (whole, tenth) {
                (0, _) => {}
                (_, 0) => return write!(f, "{whole}{unit}"),
                _ => return write!(f, "{whole}.{tenth}{unit}"),
            }
        }
        write!(f, "{}", self.0)
    }
}

/// Two marks: over the high one something is done, until it is under the low one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Marks {
    /// In bytes.
    pub low: u64,
    /// In bytes, not less.
    pub high: u64,
}

/// Marks as parts of a whole, in percent, as in `80,95`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percents {
    low: u8,
    high: u8,
}

impl Percents {
    /// The marks of this much.
    pub fn of(self, total: Size) -> Marks {
        let part = |percent: u8| {
            let bytes = u128::from(total.bytes()) * u128::from(percent) / 100;
            u64::try_from(bytes).unwrap_or(u64::MAX)
        };
        Marks { low: part(self.low), high: part(self.high) }
    }
}

impl Default for Percents {
    fn default() -> Self {
        Self { low: 80, high: 95 }
    }
}

impl FromStr for Percents {
    type Err = ParseError;

    fn from_str(text: &str) -> Result<Self, ParseError> {
        let percent = |text: &str| text.trim().trim_end_matches('%').parse::<u8>().ok();
        let parse = || {
            let (low, high) = text.split_once(',')?;
            let (low, high) = (percent(low)?, percent(high)?);
            (low > 0 && low <= high && high <= 100).then_some(Self { low, high })
        };
        let why = "it is a low and a high one in percent, as in `80,95`";
        parse().ok_or_else(|| ParseError::new(text, "a pair of marks", why))
    }
}

impl fmt::Display for Percents {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{},{}", self.low, self.high)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::{Marks, Percents, Size};

    #[test]
    fn sizes_have_binary_units() {
        let bytes = |text: &str| text.parse::<Size>().unwrap().bytes();
        assert_eq!([bytes("1"), bytes("512B"), bytes("1K"), bytes("1kib")], [1, 512, 1024, 1024]);
        assert_eq!([bytes("512M"), bytes("1.5G"), bytes("2g")], [512 << 20, 3 << 29, 2 << 30]);
        assert_eq!(bytes("16777215T"), 16_777_215 << 40);
    }

    #[test]
    fn sizes_are_shown_short() {
        let shown = |text: &str| text.parse::<Size>().unwrap().to_string();
        assert_eq!(
            [shown("1023"), shown("1024K"), shown("1.5g"), shown("1.99G")],
            ["1023", "1M", "1.5G", "1.9G"]
        );
    }

    #[test]
    fn bad_sizes_are_refused_with_the_reason() {
        for bad in ["", "M", "-1M", "1.M", ".5M", "1.5", "1 M", "1MM", "1.1234567G", "0x1", "１M"] {
            assert!(bad.parse::<Size>().unwrap_err().to_string().contains("`512M`"), "{bad}");
        }
        assert!("0".parse::<Size>().unwrap_err().to_string().contains("more than nothing"));
        assert!("16777216T".parse::<Size>().unwrap_err().to_string().contains("16 million"));
    }

    #[test]
    fn marks_are_percents_of_the_total() {
        let total: Size = "1000".parse().unwrap();
        assert_eq!(Percents::default().of(total), Marks { low: 800, high: 950 });
        assert_eq!("50%, 100%".parse::<Percents>().unwrap().to_string(), "50,100");
        for bad in ["", "80", "95,80", "0,1", "80,101", "80,95,96", "a,b"] {
            assert!(bad.parse::<Percents>().is_err(), "{bad}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "\\PC*|[0-9]{0,30}\\.?[0-9]{0,9}[KMGTkib]{0,3}") {
            let _any = text.parse::<Size>().map(|size| (size.to_string(), Percents::default().of(size)));
            let _any = text.parse::<Percents>();
        }
    }
}
