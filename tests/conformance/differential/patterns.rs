//! Texts, patterns for them, and texts that a pattern just takes or just misses.

use std::net::IpAddr;

use super::random::Chance;

/// A text that is almost this one.
pub(crate) fn near(chance: &mut Chance, text: &str) -> String {
    let mut chars: Vec<char> = text.chars().collect();
    let last = chars.len().saturating_sub(1);
    let dots: Vec<_> = (0..chars.len()).filter(|&i| ".+*".contains(chars[i])).collect();
    match chance.below(7) {
        // For those who would take a text for a regex.
        6 if !dots.is_empty() => {
            let at = *chance.pick(&dots);
            chars[at] = *chance.pick(&['x', '/', '-']);
        }
        0 | 1 if !chars.is_empty() => chars[last] = neighbour(chars[last]),
        2 if chars.len() > 1 => drop(chars.pop()),
        3 if chars.len() > 1 => drop(chars.remove(0)),
        4 if chars.iter().any(char::is_ascii_alphabetic) => {
            let letters: Vec<_> =
                (0..chars.len()).filter(|&i| chars[i].is_ascii_alphabetic()).collect();
            let at = *chance.pick(&letters);
            chars[at] = if chars[at].is_ascii_lowercase() {
                chars[at].to_ascii_uppercase()
            } else {
                chars[at].to_ascii_lowercase()
            };
        }
        _ => chars.push(*chance.pick(&['a', 'x', '1', '-'])),
    }
    chars.into_iter().collect()
}

fn neighbour(c: char) -> char {
    match c {
        'z' | 'Z' | '9' => 'a',
        c if c.is_ascii_alphanumeric() => char::from(c as u8 + 1),
        _ => 'a',
    }
}

/// A pattern that mostly takes the text.
pub(crate) fn pattern(chance: &mut Chance, text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let cut = chance.between(0, chars.len());
    let part = |from: usize, to: usize| chars[from..to].iter().collect::<String>();
    match chance.weighted(&[46, 17, 15, 6, 12, 3, 1]) {
        1 => format!("{}*", part(0, cut)),
        2 => format!("*{}", part(cut, chars.len())),
        3 => "*".into(),
        4 => near(chance, text),
        5 => format!("{}*{}", part(0, cut), part(cut, chars.len())),
        6 => format!("*{}*", part(cut, chars.len())),
        _ => text.to_owned(),
    }
}

/// A text that the pattern takes, if anything does.
pub(crate) fn inhabitant(chance: &mut Chance, pattern: &str) -> String {
    let filler = chance.word(&["", "a", "x1", "ab"]);
    if pattern == "*" {
        chance.word(&["a", "gold", "foo", "x"])
    } else if let Some(end) = pattern.strip_prefix('*') {
        format!("{filler}{end}")
    } else if let Some(start) = pattern.strip_suffix('*') {
        format!("{start}{filler}")
    } else {
        pattern.to_owned()
    }
}

/// A range with the address in it, or one beside it.
pub(crate) fn cidr(chance: &mut Chance, address: IpAddr) -> String {
    let (bits, width) = match address {
        IpAddr::V4(v4) => (u128::from(u32::from(v4)), 32),
        IpAddr::V6(v6) => (u128::from(v6), 128),
    };
    let length = match chance.below(8) {
        0 => 0,
        1 => width / 4,
        2 => width / 2,
        3 => width - 8,
        4 => width - 1,
        5 => width - chance.between(1, 6),
        _ => width,
    };
    let beside = length > 0 && chance.percent(30);
    let bits = if beside { bits ^ (1 << (width - length)) } else { bits };
    let address = if width == 32 {
        IpAddr::from(u32::try_from(bits).unwrap().to_be_bytes())
    } else {
        IpAddr::from(bits.to_be_bytes())
    };
    if length == width && chance.percent(70) {
        return address.to_string();
    }
    format!("{address}/{length}")
}

/// An address in the range.
pub(crate) fn address_in(chance: &mut Chance, cidr: &str) -> Option<IpAddr> {
    let (address, length) = cidr.split_once('/').unwrap_or((cidr, ""));
    let address: IpAddr = address.parse().ok()?;
    let width = if address.is_ipv4() { 32 } else { 128 };
    let length: usize = if length.is_empty() { width } else { length.parse().ok()? };
    if length == width || chance.percent(50) {
        return Some(address);
    }
    let flipped = 1_u128 << chance.below((width - length).min(20));
    Some(match address {
        IpAddr::V4(v4) => {
            IpAddr::from((u32::from(v4) ^ u32::try_from(flipped).unwrap()).to_be_bytes())
        }
        IpAddr::V6(v6) => IpAddr::from((u128::from(v6) ^ flipped).to_be_bytes()),
    })
}
