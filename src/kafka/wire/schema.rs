//! The shapes of requests, and a walk over a frame that must follow one before anything is allocated for it.
//!
//! The message library reserves memory for an array's length as it stands in the frame: four bytes of ill will ask for
//! hundreds of gigabytes, and the process aborts. So every frame of a stranger is walked first, without allocating:
//! what passes has as many elements as it says.
//!
//! Guarantees: after [`check`] the library reserves for elements that are there, at most [`MAX_ELEMENTS`] of them in a
//! frame; the walk takes time proportional to the frame; it refuses nothing that a client sends (what follows the
//! message is ignored, as Kafka does).
//! Does not know: values. Whether a string may be null, or is UTF-8, is the library's business.
//!
//! Sources: Kafka's message definitions (`clients/src/main/resources/common/message`), KIP-482 (flexible versions). Kafka
//! compares an array's length with the bytes that remain (`Tried to allocate a collection of size ..`).

use super::frame::take_varint;
use bytes::Buf;

pub mod requests;
pub mod sample;

/// Most array elements and tagged fields of one frame. A request about every partition of a large cluster has some ten
/// thousand; each costs up to 200 bytes once decoded, so that no frame takes more than 50 MB beside its own bytes.
pub const MAX_ELEMENTS: usize = 250_000;

/// The fields of a request, or of a structure in it, in their order.
pub type Fields = &'static [Field];

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// This many bytes.
    Fixed(usize),
    /// A string, maybe null.
    Text,
    /// Bytes or records, maybe null.
    Blob,
    /// An array of values that are no structures, maybe null.
    Many(&'static Kind),
    /// An array of structures, maybe null.
    Each(Fields),
    /// A structure.
    Part(Fields),
    /// A structure, or none.
    Maybe(Fields),
}

/// One field, and the versions that have it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Field {
    /// What it holds.
    pub kind: Kind,
    /// First version with it.
    pub since: i16,
    /// Last version with it.
    pub until: i16,
    /// Its number, if it stands among the tagged fields.
    pub tag: Option<u32>,
}

impl Field {
    const fn of(kind: Kind) -> Field {
        Field {
            kind,
            since: 0,
            until: i16::MAX,
            tag: None,
        }
    }

    const fn since(mut self, version: i16) -> Field {
        self.since = version;
        self
    }

    const fn until(mut self, version: i16) -> Field {
        self.until = version;
        self
    }

    const fn tagged(mut self, tag: u32, since: i16) -> Field {
        self.tag = Some(tag);
        self.since(since)
    }

    /// Whether this version has it.
    pub const fn is_in(&self, version: i16) -> bool {
        self.since <= version && version <= self.until
    }
}

/// Follows `fields` through the body of a request. The error is a fragment in words.
pub fn check(fields: Fields, version: i16, flexible: bool, body: &[u8]) -> Result<(), String> {
    let mut walk = Walk {
        rest: body,
        version,
        flexible,
        elements: 0,
    };
    walk.structure(fields)
}

struct Walk<'a> {
    rest: &'a [u8],
    version: i16,
    flexible: bool,
    elements: usize,
}

impl Walk<'_> {
    fn structure(&mut self, fields: Fields) -> Result<(), String> {
        for field in fields {
            if field.tag.is_none() && field.is_in(self.version) {
                self.value(&field.kind)?;
            }
        }
        if self.flexible { self.tagged(fields) } else { Ok(()) }
    }

    fn value(&mut self, kind: &'static Kind) -> Result<(), String> {
        match kind {
            Kind::Fixed(size) => self.skip(*size),
            Kind::Text | Kind::Blob => match self.length(*kind == Kind::Text)? {
                Some(size) => self.skip(size),
                None => Ok(()),
            },
            Kind::Many(Kind::Fixed(size)) => match self.array()? {
                Some(count) => self.skip(count.saturating_mul(*size)),
                None => Ok(()),
            },
            Kind::Many(item) => (0..self.array()?.unwrap_or(0)).try_for_each(|_| self.value(item)),
            Kind::Each(fields) => (0..self.array()?.unwrap_or(0)).try_for_each(|_| self.structure(fields)),
            Kind::Part(fields) => self.structure(fields),
            Kind::Maybe(fields) => {
                let present = self.rest.first().copied() == Some(1);
                self.skip(1)?;
                if present { self.structure(fields) } else { Ok(()) }
            }
        }
    }

    fn tagged(&mut self, fields: Fields) -> Result<(), String> {
        let count = self.varint()?;
        self.count(count as usize)?;
        for _ in 0..count {
            let tag = self.varint()?;
            let size = self.varint()? as usize;
            let known = fields.iter().find(|field| field.tag == Some(tag));
            let Some(field) = known.filter(|field| field.is_in(self.version)) else {
                self.skip(size)?;
                continue;
            };
            // The library reads the value without regard to the size that stands before it.
            let before = self.rest.len();
            self.value(&field.kind)?;
            if before - self.rest.len() != size {
                return Err(format!("tagged field {tag} is not of its size {size}"));
            }
        }
        Ok(())
    }

    /// The number of an array's elements, which have room in what is left.
    fn array(&mut self) -> Result<Option<usize>, String> {
        let Some(count) = self.length(false)? else {
            return Ok(None);
        };
        self.count(count)?;
        Ok(Some(count))
    }

    fn count(&mut self, more: usize) -> Result<(), String> {
        // Each takes a byte at least.
        if more > self.rest.len() {
            return Err(format!("{more} elements in {} bytes", self.rest.len()));
        }
        self.elements += more;
        if self.elements > MAX_ELEMENTS {
            return Err(format!("more than {MAX_ELEMENTS} elements"));
        }
        Ok(())
    }

    /// `None` is null.
    fn length(&mut self, of_text: bool) -> Result<Option<usize>, String> {
        if self.flexible {
            return Ok((self.varint()? as usize).checked_sub(1));
        }
        let length = if of_text {
            i32::from(self.rest.try_get_i16().map_err(|_| cut_off())?)
        } else {
            self.rest.try_get_i32().map_err(|_| cut_off())?
        };
        match usize::try_from(length) {
            Ok(length) => Ok(Some(length)),
            Err(_) if length == -1 => Ok(None),
            Err(_) => Err(format!("length {length}")),
        }
    }

    fn varint(&mut self) -> Result<u32, String> {
        take_varint(&mut self.rest).map_err(|error| error.to_string())
    }

    fn skip(&mut self, size: usize) -> Result<(), String> {
        self.rest = self.rest.get(size..).ok_or_else(cut_off)?;
        Ok(())
    }
}

fn cut_off() -> String {
    "cut off".to_owned()
}

#[cfg(test)]
mod tests;
