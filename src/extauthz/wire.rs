//! Protobuf's wire format: fields read where they lie, and written without a message in between.
//!
//! Knows no message; which fields one has is `view`'s and `reply`'s job. Reads what every reader of
//! protobuf takes for the same thing, and steps [`Aside`] where it would have to judge.

/// Something that is wrong, or too unusual to be read here: prost has the last word on it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Aside;

/// The value of a field.
#[derive(Debug, Clone, Copy)]
pub(super) enum Field<'a> {
    /// A number or a truth value.
    Varint(u64),
    /// A text, bytes, or a message.
    Delimited(&'a [u8]),
    /// Eight or four bytes, of which nobody here has a use.
    Fixed,
}

impl<'a> Field<'a> {
    pub(super) fn varint(self) -> Result<u64, Aside> {
        match self {
            Self::Varint(value) => Ok(value),
            Self::Delimited(_) | Self::Fixed => Err(Aside),
        }
    }

    pub(super) fn bytes(self) -> Result<&'a [u8], Aside> {
        match self {
            Self::Delimited(bytes) => Ok(bytes),
            Self::Varint(_) | Self::Fixed => Err(Aside),
        }
    }

    pub(super) fn text(self) -> Result<&'a str, Aside> {
        str::from_utf8(self.bytes()?).map_err(|_| Aside)
    }
}

/// Hands over each field of a message with its number, in order.
pub(super) fn each_field<'a>(
    mut message: &'a [u8],
    mut field: impl FnMut(u32, Field<'a>) -> Result<(), Aside>,
) -> Result<(), Aside> {
    while !message.is_empty() {
        let key = u32::try_from(varint(&mut message)?).map_err(|_| Aside)?;
        let (number, wire_type) = (key >> 3, key & 7);
        if number == 0 {
            return Err(Aside);
        }
        let value = match wire_type {
            0 => Field::Varint(varint(&mut message)?),
            1 => fixed(&mut message, 8)?,
            2 => {
                let length = usize::try_from(varint(&mut message)?).map_err(|_| Aside)?;
                Field::Delimited(split_off(&mut message, length)?)
            }
            5 => fixed(&mut message, 4)?,
            // Groups, and what is nothing.
            _ => return Err(Aside),
        };
        field(number, value)?;
    }
    Ok(())
}

fn fixed<'a>(message: &mut &'a [u8], length: usize) -> Result<Field<'a>, Aside> {
    split_off(message, length).map(|_| Field::Fixed)
}

fn split_off<'a>(message: &mut &'a [u8], length: usize) -> Result<&'a [u8], Aside> {
    let (taken, rest) = message.split_at_checked(length).ok_or(Aside)?;
    *message = rest;
    Ok(taken)
}

/// Nearly all are keys and lengths of one byte or two.
#[inline]
fn varint(message: &mut &[u8]) -> Result<u64, Aside> {
    match *message {
        [low @ 0..0x80, rest @ ..] => {
            *message = rest;
            Ok(u64::from(*low))
        }
        [low, high @ 0..0x80, rest @ ..] => {
            *message = rest;
            Ok(u64::from(low & 0x7f) | u64::from(*high) << 7)
        }
        _ => long_varint(message),
    }
}

#[cold]
fn long_varint(message: &mut &[u8]) -> Result<u64, Aside> {
    let mut value = 0;
    for place in 0..10 {
        let [byte, rest @ ..] = *message else { return Err(Aside) };
        *message = rest;
        // Of the tenth byte only one bit is left.
        if place == 9 && *byte > 1 {
            return Err(Aside);
        }
        value |= u64::from(byte & 0x7f) << (7 * place);
        if *byte < 0x80 {
            return Ok(value);
        }
    }
    Err(Aside)
}

/// Writes fields one after the other, those of default values too where they are asked for.
#[derive(Debug, Default)]
pub(super) struct Writer(Vec<u8>);

impl Writer {
    pub(super) fn with_capacity(capacity: usize) -> Self {
        Self(Vec::with_capacity(capacity))
    }

    pub(super) fn finish(self) -> Vec<u8> {
        self.0
    }

    /// A number or a truth value.
    pub(super) fn varint(&mut self, number: u32, value: u64) {
        self.push_varint(u64::from(number << 3));
        self.push_varint(value);
    }

    /// A double.
    pub(super) fn double(&mut self, number: u32, value: f64) {
        self.push_varint(u64::from(number << 3 | 1));
        self.0.extend_from_slice(&value.to_le_bytes());
    }

    /// A text; one that is empty is as good as absent outside of a `oneof`, and left out.
    pub(super) fn text(&mut self, number: u32, text: &str) {
        if !text.is_empty() {
            self.text_of_oneof(number, &[text]);
        }
    }

    /// A text in pieces, also an empty one.
    pub(super) fn text_of_oneof(&mut self, number: u32, pieces: &[&str]) {
        self.push_varint(u64::from(number << 3 | 2));
        self.push_varint(as_u64(pieces.iter().map(|piece| piece.len()).sum()));
        for piece in pieces {
            self.0.extend_from_slice(piece.as_bytes());
        }
    }

    /// A message, whose length is known only when its fields are written.
    pub(super) fn message(&mut self, number: u32, fields: impl FnOnce(&mut Self)) {
        self.push_varint(u64::from(number << 3 | 2));
        let at = self.0.len();
        self.0.push(0);
        fields(self);
        let mut length = self.0.len() - at - 1;
        let mut place = at;
        // One byte is there; a long message makes room for more.
        while length > 0x7f {
            self.0.insert(place, low_bits(as_u64(length)) | 0x80);
            length >>= 7;
            place += 1;
        }
        if let Some(last) = self.0.get_mut(place) {
            *last = low_bits(as_u64(length));
        }
    }

    fn push_varint(&mut self, mut value: u64) {
        while value > 0x7f {
            self.0.push(low_bits(value) | 0x80);
            value >>= 7;
        }
        self.0.push(low_bits(value));
    }
}

fn as_u64(length: usize) -> u64 {
    u64::try_from(length).unwrap_or(u64::MAX)
}

fn low_bits(value: u64) -> u8 {
    let [byte, ..] = value.to_le_bytes();
    byte & 0x7f
}
