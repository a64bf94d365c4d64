//! How values become bodies and bodies values: serde, and one of its formats. What both
//! SDKs share of typed services; see docs/typed.md.

use std::fmt;

use crate::body::Body;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// The format of a typed service's bodies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Codec {
    /// JSON; `application/json`. Needs the feature `json`.
    #[cfg(feature = "json")]
    Json,
    /// MessagePack, with structs as maps by the names of their fields;
    /// `application/msgpack`. Needs the feature `msgpack`.
    #[cfg(feature = "msgpack")]
    MsgPack,
}

/// How deep the values of a body may lie in each other: as deep as in JSON, which
/// serde_json bounds. A thread's stack is not too small for that.
#[cfg(feature = "msgpack")]
const DEPTH_MAX: usize = 128;

impl Codec {
    /// What metadata says of it under the key `content-type`.
    pub fn content_type(self) -> &'static str {
        match self {
            #[cfg(feature = "json")]
            Codec::Json => "application/json",
            #[cfg(feature = "msgpack")]
            Codec::MsgPack => "application/msgpack",
        }
    }

    /// Those that this build knows.
    pub const ALL: &[Codec] = &[
        #[cfg(feature = "json")]
        Codec::Json,
        #[cfg(feature = "msgpack")]
        Codec::MsgPack,
    ];

    /// The one of this content type.
    pub fn of(content_type: &[u8]) -> Option<Codec> {
        let known = |codec: &&Codec| codec.content_type().as_bytes() == content_type;
        Codec::ALL.iter().find(known).copied()
    }

    /// Writes one value.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] for what the format cannot express.
    pub fn write<T: Serialize + ?Sized>(self, value: &T) -> Result<Vec<u8>, PayloadError> {
        match self {
            #[cfg(feature = "json")]
            Codec::Json => serde_json::to_vec(value).map_err(PayloadError::new),
            #[cfg(feature = "msgpack")]
            Codec::MsgPack => rmp_serde::to_vec_named(value).map_err(PayloadError::new),
        }
    }

    /// Reads one value that fills `bytes`.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] where they are no such value.
    pub fn read<T: DeserializeOwned>(self, bytes: &[u8]) -> Result<T, PayloadError> {
        if bytes.is_empty() {
            return Err(PayloadError::new("there is no value, the body is empty"));
        }
        match self {
            #[cfg(feature = "json")]
            Codec::Json => {
                let mut reader = serde_json::Deserializer::from_slice(bytes);
                let value = serde_path_to_error::deserialize(&mut reader)
                    .map_err(|error| PayloadError::at(error.path(), error.inner()))?;
                reader.end().map(|()| value).map_err(PayloadError::new)
            }
            #[cfg(feature = "msgpack")]
            Codec::MsgPack => {
                let mut rest = bytes;
                let mut reader = rmp_serde::Deserializer::new(&mut rest);
                reader.set_max_depth(DEPTH_MAX);
                let value = serde_path_to_error::deserialize(&mut reader)
                    .map_err(|error| PayloadError::at(error.path(), error.inner()))?;
                match rest.len() {
                    0 => Ok(value),
                    more => Err(PayloadError::new(format!("{more} bytes after the value"))),
                }
            }
        }
    }
}

impl fmt::Display for Codec {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.content_type())
    }
}

/// Why a value has no encoding, or a body no such value: the reason, and the field
/// where that is known.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use majordomo_protocol::Body;
/// use majordomo_protocol::payload::{Codec, Decode};
///
/// let error = Vec::<u32>::decode(Codec::Json, Body::from("[1, true]")).unwrap_err();
/// assert_eq!(error.field(), Some("[1]"));
/// assert!(error.reason().starts_with("invalid type: boolean `true`, expected u32"));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PayloadError {
    field: Option<String>,
    reason: String,
}

impl PayloadError {
    /// An error about the whole value.
    pub fn new(reason: impl fmt::Display) -> Self {
        PayloadError { field: None, reason: reason.to_string() }
    }

    fn at(path: &serde_path_to_error::Path, reason: impl fmt::Display) -> Self {
        // The path of the whole value is a dot.
        let field = Some(path.to_string()).filter(|path| path != "." && !path.is_empty());
        PayloadError { field, reason: reason.to_string() }
    }

    /// The field it is about, as a path from the whole value: `items[2].price`.
    pub fn field(&self) -> Option<&str> {
        self.field.as_deref()
    }

    /// What is wrong, in the format's words.
    pub fn reason(&self) -> &str {
        &self.reason
    }
}

impl fmt::Display for PayloadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.field {
            Some(field) => write!(f, "field {field}: {}", self.reason),
            None => f.write_str(&self.reason),
        }
    }
}

impl std::error::Error for PayloadError {}

/// What can be a body: every value that serde can write, and what is
/// [encoded](Encoded) already.
pub trait Encode {
    /// The body.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] for what the format cannot express, such as a map in JSON whose
    /// keys are no text.
    fn encode(&self, codec: Codec) -> Result<Body, PayloadError>;
}

/// What can be made of a body: every value that serde can read, and the body
/// [itself](Encoded).
pub trait Decode: Sized {
    /// The value; it fills the body.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] where the body is no such value.
    fn decode(codec: Codec, body: Body) -> Result<Self, PayloadError>;
}

/// A body that is encoded already, or is to stay so: it is passed through unread.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use majordomo_protocol::Body;
/// use majordomo_protocol::payload::{Codec, Encode, Encoded};
///
/// let body = Body::from(r#"{"a":1}"#);
/// assert_eq!(Encoded(body.clone()).encode(Codec::Json), Ok(body));
/// # }
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Encoded(
    /// The body.
    pub Body,
);

impl<T: Serialize + ?Sized> Encode for T {
    fn encode(&self, codec: Codec) -> Result<Body, PayloadError> {
        codec.write(self).map(Body::from)
    }
}

impl<T: DeserializeOwned> Decode for T {
    fn decode(codec: Codec, body: Body) -> Result<Self, PayloadError> {
        codec.read(&body.into_bytes())
    }
}

impl Encode for Encoded {
    fn encode(&self, _: Codec) -> Result<Body, PayloadError> {
        Ok(self.0.clone())
    }
}

impl Decode for Encoded {
    fn decode(_: Codec, body: Body) -> Result<Self, PayloadError> {
        Ok(Encoded(body))
    }
}
