//! How a setting is defined and checked.

/// Kafka's types of settings, with the numbers of DescribeConfigs v3+ (KIP-569).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i8)]
pub enum ConfigType {
    /// `true` or `false`.
    Boolean = 1,
    /// Text.
    String = 2,
    /// A 32-bit number.
    Int = 3,
    /// A 64-bit number.
    Long = 5,
    /// A floating-point number.
    Double = 6,
    /// Text separated by commas.
    List = 7,
}

/// What a value must satisfy beyond its type.
#[derive(Clone, Copy, Debug)]
pub enum Check {
    /// Nothing.
    Any,
    /// A number of at least this.
    AtLeast(i64),
    /// A number within these bounds, both included.
    Between(i64, i64),
    /// A fraction from 0 to 1.
    Ratio,
    /// One of these words.
    OneOf(&'static [&'static str]),
    /// A comma-separated list of these words.
    ListOf(&'static [&'static str]),
}

/// One setting.
#[derive(Clone, Copy, Debug)]
pub struct Definition {
    /// Kafka's name.
    pub name: &'static str,
    /// Its type.
    pub kind: ConfigType,
    /// Its value when nobody set it.
    pub default: &'static str,
    /// The broker setting that gives the default for all topics.
    pub synonym: &'static str,
    /// What a value must satisfy.
    pub check: Check,
    /// What it does here, for DescribeConfigs' documentation.
    pub doc: &'static str,
}

/// A value that a setting cannot take.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidConfig {
    /// No such setting.
    #[error("Unknown topic config name: {name}")]
    Unknown {
        /// The name given.
        name: String,
    },
    /// The value breaks the setting's rule.
    #[error("Invalid value {value} for configuration {name}: {reason}")]
    Value {
        /// The setting.
        name: String,
        /// The value given.
        value: String,
        /// What it should have been.
        reason: String,
    },
    /// Each value is fine by itself, and together they make no sense.
    #[error("conflict topic config setting {lower} ({lower_value}) > {upper} ({upper_value})")]
    Conflict {
        /// The setting that must not be larger.
        lower: &'static str,
        /// Its value.
        lower_value: i64,
        /// The setting that must not be smaller.
        upper: &'static str,
        /// Its value.
        upper_value: i64,
    },
}

impl Definition {
    /// Checks a value and returns it in its canonical form (trimmed, as Kafka does).
    pub fn parse(&self, value: &str) -> Result<String, InvalidConfig> {
        let value = value.trim();
        self.check_type(value)
            .and_then(|()| self.check_rule(value))
            .map(|()| value.to_owned())
            .map_err(|reason| InvalidConfig::Value {
                name: self.name.to_owned(),
                value: value.to_owned(),
                reason,
            })
    }

    fn check_type(&self, value: &str) -> Result<(), String> {
        let fits = match self.kind {
            ConfigType::Boolean => {
                value.eq_ignore_ascii_case("true") || value.eq_ignore_ascii_case("false")
            }
            ConfigType::Int => value.parse::<i32>().is_ok(),
            ConfigType::Long => value.parse::<i64>().is_ok(),
            ConfigType::Double => value.parse::<f64>().is_ok_and(f64::is_finite),
            ConfigType::String | ConfigType::List => true,
        };
        if fits { Ok(()) } else { Err(format!("Not a value of type {:?}", self.kind)) }
    }

    fn check_rule(&self, value: &str) -> Result<(), String> {
        match self.check {
            Check::Any => Ok(()),
            Check::AtLeast(least) => self.check_range(value, least, i64::MAX),
            Check::Between(least, most) => self.check_range(value, least, most),
            Check::Ratio => match value.parse::<f64>() {
                Ok(ratio) if (0.0..=1.0).contains(&ratio) => Ok(()),
                _ => Err("Value must be between 0 and 1".to_owned()),
            },
            Check::OneOf(words) if words.contains(&value) => Ok(()),
            Check::OneOf(words) => Err(format!("String must be one of: {}", words.join(", "))),
            Check::ListOf(words) => {
                let mut items = list_items(value);
                if items.all(|item| words.contains(&item)) {
                    Ok(())
                } else {
                    Err(format!("List items must be one of: {}", words.join(", ")))
                }
            }
        }
    }

    fn check_range(&self, value: &str, least: i64, most: i64) -> Result<(), String> {
        match value.parse::<i64>() {
            Ok(number) if number < least => Err(format!("Value must be at least {least}")),
            Ok(number) if number > most => Err(format!("Value must be no more than {most}")),
            Ok(_) => Ok(()),
            Err(_) => Err("Not a number".to_owned()),
        }
    }
}

/// The items of a list value.
pub(crate) fn list_items(value: &str) -> impl Iterator<Item = &str> {
    value.split(',').map(str::trim).filter(|item| !item.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    const RATIO: Definition = Definition {
        name: "ratio",
        kind: ConfigType::Double,
        default: "0.5",
        synonym: "log.ratio",
        check: Check::Ratio,
        doc: "",
    };

    #[test]
    fn values_are_trimmed_and_checked() {
        assert_eq!(RATIO.parse(" 0.25 "), Ok("0.25".to_owned()));
        assert!(RATIO.parse("1.5").is_err());
        assert!(RATIO.parse("NaN").is_err());
        assert!(RATIO.parse("half").is_err());
    }

    #[test]
    fn a_list_may_hold_only_known_words() {
        let list =
            Definition { kind: ConfigType::List, check: Check::ListOf(&["a", "b"]), ..RATIO };
        assert!(list.parse("a, b").is_ok());
        assert!(list.parse("a,c").is_err());
    }
}
