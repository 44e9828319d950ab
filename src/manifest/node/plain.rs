//! What a YAML scalar without quotes is: the core schema of YAML 1.2, and the spellings of YAML 1.1
//! that Kubernetes' parser still knows.
//!
//! Leaves tags and quotes to `yaml`.

/// What a scalar without quotes is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Plain {
    Null,
    Bool(bool),
    OldBool(bool),
    Number,
    String,
}

pub(super) fn resolve(text: &str) -> Plain {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => Plain::Null,
        "true" | "True" | "TRUE" => Plain::Bool(true),
        "false" | "False" | "FALSE" => Plain::Bool(false),
        "y" | "Y" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => Plain::OldBool(true),
        "n" | "N" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => Plain::OldBool(false),
        _ if is_number(text) => Plain::Number,
        _ => Plain::String,
    }
}

fn is_number(text: &str) -> bool {
    if !text.starts_with(|c: char| c.is_ascii_digit() || "+-.".contains(c)) {
        return false;
    }
    let unsigned = text.strip_prefix(['+', '-']).unwrap_or(text);
    if matches!(unsigned, ".inf" | ".Inf" | ".INF") || matches!(text, ".nan" | ".NaN" | ".NAN") {
        return true;
    }
    // YAML 1.1 allows `_` between digits.
    let unsigned = unsigned.replace('_', "");
    let all = |digits: &str, radix| !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix));
    match unsigned.get(..2) {
        Some("0x" | "0X") => all(unsigned.get(2..).unwrap_or_default(), 16),
        Some("0o" | "0O") => all(unsigned.get(2..).unwrap_or_default(), 8),
        Some("0b" | "0B") => all(unsigned.get(2..).unwrap_or_default(), 2),
        Some(_) | None => {
            let (mantissa, exponent) = match unsigned.split_once(['e', 'E']) {
                Some((mantissa, exponent)) => (mantissa, Some(exponent)),
                None => (unsigned.as_str(), None),
            };
            let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));
            let digits = |part: &str| part.chars().all(|c| c.is_ascii_digit());
            digits(whole)
                && digits(fraction)
                && !(whole.is_empty() && fraction.is_empty())
                && exponent.is_none_or(|e| all(e.strip_prefix(['+', '-']).unwrap_or(e), 10))
        }
    }
}

/// The number that JSON writes for it.
pub(super) fn number(text: &str) -> Option<serde_json::Number> {
    let digits = text.replace('_', "");
    let (sign, unsigned) = match digits.strip_prefix('-') {
        Some(rest) => (-1, rest),
        None => (1, digits.strip_prefix('+').unwrap_or(&digits)),
    };
    let radix = match unsigned.get(..2) {
        Some("0x" | "0X") => Some(16),
        Some("0o" | "0O") => Some(8),
        Some("0b" | "0B") => Some(2),
        Some(_) | None => None,
    };
    if let Some(radix) = radix {
        let magnitude = i64::from_str_radix(unsigned.get(2..)?, radix).ok()?;
        return Some((sign * magnitude).into());
    }
    if let Ok(number) = digits.trim_start_matches('+').parse::<i64>() {
        return Some(number.into());
    }
    if let Ok(number) = unsigned.parse::<u64>()
        && sign > 0
    {
        return Some(number.into());
    }
    digits.parse::<f64>().ok().and_then(serde_json::Number::from_f64)
}
