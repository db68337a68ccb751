//! Times as shuttle writes them.

use std::{fmt, time::Duration};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use crate::model::{ParseError, Period};

/// A time: a number is seconds, a text is as in `500ms`. 0 is the usual time, or none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Seconds(Duration);

impl Seconds {
    /// Whether it is the usual time, or none.
    pub fn is_zero(self) -> bool {
        self.0.is_zero()
    }

    /// The time between two checks, or until one fails.
    pub(super) fn period(self) -> Result<Period, ParseError> {
        humantime::format_duration(self.0).to_string().parse()
    }
}

impl From<Period> for Seconds {
    fn from(period: Period) -> Self {
        Self(period.get())
    }
}

impl Serialize for Seconds {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0.subsec_nanos() {
            0 => serializer.serialize_u64(self.0.as_secs()),
            _ => serializer.serialize_f64(self.0.as_secs_f64()),
        }
    }
}

impl<'de> Deserialize<'de> for Seconds {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Visitor)
    }
}

struct Visitor;

impl de::Visitor<'_> for Visitor {
    type Value = Seconds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("seconds, or a text as in `500ms`")
    }

    fn visit_u64<E: de::Error>(self, seconds: u64) -> Result<Seconds, E> {
        Ok(Seconds(Duration::from_secs(seconds)))
    }

    fn visit_i64<E: de::Error>(self, seconds: i64) -> Result<Seconds, E> {
        u64::try_from(seconds)
            .map_err(|_| E::invalid_value(de::Unexpected::Signed(seconds), &self))
            .and_then(|seconds| self.visit_u64(seconds))
    }

    fn visit_f64<E: de::Error>(self, seconds: f64) -> Result<Seconds, E> {
        let time = Duration::try_from_secs_f64(seconds);
        time.map(Seconds).map_err(|_| E::invalid_value(de::Unexpected::Float(seconds), &self))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Seconds, E> {
        let time = humantime::parse_duration(text);
        time.map(Seconds).map_err(|_| E::invalid_value(de::Unexpected::Str(text), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::Seconds;

    fn read(json: &str) -> Result<Seconds, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn number_is_seconds_and_text_has_a_unit() {
        for (json, period) in [("2", "2s"), ("0.5", "500ms"), ("\"500ms\"", "500ms"), ("\"1m\"", "1m")] {
            assert_eq!(read(json).unwrap().period().unwrap().to_string(), period);
        }
        for bad in ["-1", "-0.5", "\"2\"", "\"\"", "true", "1e300", "[]"] {
            assert!(read(bad).unwrap_err().contains("expected seconds"), "{bad}");
        }
    }

    #[test]
    fn whole_seconds_are_written_without_a_point() {
        for (json, written) in [("2.0", "2"), ("\"1500ms\"", "1.5"), ("0", "0")] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), written);
        }
    }

    #[test]
    fn time_that_no_check_can_have_is_refused() {
        for json in ["0.001", "\"5us\"", "3601", "18446744073709551615"] {
            assert!(read(json).unwrap().period().unwrap_err().to_string().contains("10ms to 1h"), "{json}");
        }
    }
}
