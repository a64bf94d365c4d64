//! What can end a typed call, and what a typed service says of its failure.

use std::fmt;

use majordomo_protocol::{Body, MetadataTooLarge};
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::call_error::CallError;
use majordomo_protocol::payload::{Codec, PayloadError};

/// Why a call of a [`TypedClient`](crate::TypedClient) failed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypedError {
    /// It failed before the service could answer; see there.
    #[error(transparent)]
    Call(CallError),

    /// The service answered with an error.
    #[error(
        "{service}.{method} failed with {code}{}: {text}",
        .kind.as_ref().map(|kind| format!(" ({kind})")).unwrap_or_default()
    )]
    Remote {
        /// The service that was asked.
        service: Box<str>,
        /// The method that was asked.
        method: Box<str>,
        /// The service's code: 400 when it could not decode the request, 415 when it does
        /// not know the content type, 501 when it has no such method, 500 or another of
        /// its own when the method failed.
        code: u16,
        /// Which error it is, for programs; none from a service that is not typed.
        kind: Option<String>,
        /// What went wrong, for people.
        text: String,
        /// What else the service said.
        details: Details,
    },

    /// The request has no encoding. Nothing was sent.
    #[error("the request for {service}.{method} cannot be encoded as {codec}")]
    Encode {
        /// The service that was to be asked.
        service: Box<str>,
        /// The method that was to be asked.
        method: Box<str>,
        /// The format.
        codec: Codec,
        /// Why not.
        source: PayloadError,
    },

    /// The method's name, or the metadata of the options, is too long. Nothing was sent.
    #[error("the metadata of a request is too long")]
    Metadata(#[from] MetadataTooLarge),

    /// The service answered, but not with such a value. The request has run.
    #[error("the reply of {service}.{method} is not what was expected")]
    Decode {
        /// The service that was asked.
        service: Box<str>,
        /// The method that was asked.
        method: Box<str>,
        /// What is wrong with it.
        source: PayloadError,
    },
}

impl TypedError {
    /// Whether the request may have run, or may still be running or waiting; see
    /// [`CallError::may_have_run`].
    pub fn may_have_run(&self) -> bool {
        match self {
            TypedError::Call(error) => error.may_have_run(),
            TypedError::Remote { .. } | TypedError::Decode { .. } => true,
            TypedError::Encode { .. } | TypedError::Metadata(_) => false,
        }
    }
}

/// What a service said of an error beside its code and text.
///
/// ```
/// # #[cfg(feature = "json")] {
/// use majordomo_client::{Body, Codec, Details};
///
/// let body = Body::from(r#"{"kind": "overdrawn", "details": {"missing": 20}}"#);
/// let details = Details::new(Codec::Json, body);
/// assert_eq!(details.kind().as_deref(), Some("overdrawn"));
///
/// #[derive(serde::Deserialize)]
/// struct Overdrawn {
///     missing: u32,
/// }
/// assert_eq!(details.decode::<Overdrawn>().unwrap().missing, 20);
/// # }
/// ```
#[derive(Clone, PartialEq, Eq)]
pub struct Details {
    codec: Codec,
    body: Body,
}

/// As it travels, with the details as `D`.
#[derive(Deserialize)]
struct Shape<D> {
    details: D,
}

#[derive(Deserialize)]
struct Kind {
    kind: String,
    #[serde(rename = "details", default)]
    _details: IgnoredAny,
}

impl Details {
    /// The details in the body of an error.
    pub fn new(codec: Codec, body: Body) -> Self {
        Details { codec, body }
    }

    /// Which error it is; none when a typed service did not say so.
    pub fn kind(&self) -> Option<String> {
        self.codec.read(&self.body.to_bytes()).ok().map(|Kind { kind, .. }| kind)
    }

    /// What the service told beside the kind. It may tell nothing: an `Option` takes
    /// that, too.
    ///
    /// # Errors
    ///
    /// [`PayloadError`] where that is no `D`.
    pub fn decode<D: DeserializeOwned>(&self) -> Result<D, PayloadError> {
        self.codec.read(&self.body.to_bytes()).map(|Shape { details }| details)
    }

    /// The body as it came.
    pub fn body(&self) -> &Body {
        &self.body
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let bytes = self.body.to_bytes();
        write!(f, "Details({}, {})", self.codec, majordomo_protocol::dump(&bytes))
    }
}
