//! What a method that fails tells: a code, a kind and details for programs, a text for
//! people. How that travels is said in docs/typed.md.

use std::convert::Infallible;
use std::error::Error;
use std::fmt;
use std::sync::Arc;

use majordomo_protocol::{Body, code};
use serde::Serialize;

use crate::handler::HandlerError;
use majordomo_protocol::payload::{Codec, PayloadError};

/// An error that a method of a [`TypedService`](crate::TypedService) may return.
///
/// [`Failure`] is one for every purpose, a `String` is one with a text alone, and
/// [`Infallible`] is for methods that cannot fail. An error type of your own says its
/// kinds:
///
/// ```
/// use majordomo_worker::{Details, ServiceError};
///
/// enum PayError {
///     Overdrawn { missing: u32 },
///     NoAccount,
/// }
///
/// impl ServiceError for PayError {
///     fn kind(&self) -> &str {
///         match self {
///             PayError::Overdrawn { .. } => "overdrawn",
///             PayError::NoAccount => "no_account",
///         }
///     }
///
///     fn text(&self) -> String {
///         match self {
///             PayError::Overdrawn { missing } => format!("{missing} are missing"),
///             PayError::NoAccount => "there is no such account".to_owned(),
///         }
///     }
///
///     fn details(&self) -> Option<Details> {
///         match self {
///             PayError::Overdrawn { missing } => Some(Details::new(*missing)),
///             PayError::NoAccount => None,
///         }
///     }
/// }
/// ```
pub trait ServiceError {
    /// For programs that know only codes. Default: 500. A code by which brokers say
    /// what happened to a request (403, 404, 408, 413, 429, 499, 502, 503, 504) would
    /// be taken for theirs: 500 is sent in its place.
    fn code(&self) -> u16 {
        code::FAILED
    }

    /// Which error it is, for programs. Default: `failed`.
    fn kind(&self) -> &str {
        "failed"
    }

    /// What went wrong, for people; cut after 1024 bytes.
    fn text(&self) -> String;

    /// What else there is to tell, of a shape that the kind decides. Default: nothing.
    fn details(&self) -> Option<Details> {
        None
    }
}

/// A value that goes along with an error. Cheap to clone.
#[derive(Clone)]
pub struct Details(Arc<dyn Tell + Send + Sync>);

impl Details {
    /// Takes the value.
    pub fn new(value: impl Serialize + Send + Sync + 'static) -> Self {
        Details(Arc::new(value))
    }
}

impl fmt::Debug for Details {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Details")
    }
}

/// What serde can write, in whichever format the request had.
trait Tell {
    fn tell(&self, codec: Codec, kind: &str) -> Result<Body, PayloadError>;
}

/// As it travels.
#[derive(Serialize)]
struct Shape<'a, D: ?Sized> {
    kind: &'a str,
    details: &'a D,
}

impl<T: Serialize> Tell for T {
    fn tell(&self, codec: Codec, kind: &str) -> Result<Body, PayloadError> {
        codec.write(&Shape { kind, details: self }).map(Body::from)
    }
}

/// An error that is made where it happens.
///
/// `?` makes one of every error, of kind `failed`.
///
/// ```
/// use majordomo_worker::Failure;
///
/// fn pay(amount: u32, balance: u32) -> Result<u32, Failure> {
///     balance.checked_sub(amount).ok_or_else(|| {
///         let missing = amount - balance;
///         Failure::new("overdrawn", "the balance is too low").with_code(422).with_details(missing)
///     })
/// }
/// # use majordomo_worker::ServiceError;
/// # assert_eq!(pay(3, 1).unwrap_err().code(), 422);
/// ```
// Not an Error: that would forbid the conversion from every error.
#[derive(Debug)]
pub struct Failure {
    code: u16,
    kind: String,
    text: String,
    details: Option<Details>,
}

impl Failure {
    /// With code 500 and no details.
    pub fn new(kind: impl Into<String>, text: impl Into<String>) -> Self {
        Failure { code: code::FAILED, kind: kind.into(), text: text.into(), details: None }
    }

    /// With another code; see [`ServiceError::code`].
    pub fn with_code(self, code: u16) -> Self {
        Failure { code, ..self }
    }

    /// With a value that goes along.
    pub fn with_details(self, details: impl Serialize + Send + Sync + 'static) -> Self {
        Failure { details: Some(Details::new(details)), ..self }
    }
}

impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::new("failed", format!("{error:#}"))
    }
}

impl ServiceError for Failure {
    fn code(&self) -> u16 {
        self.code
    }

    fn kind(&self) -> &str {
        &self.kind
    }

    fn text(&self) -> String {
        self.text.clone()
    }

    fn details(&self) -> Option<Details> {
        self.details.clone()
    }
}

impl ServiceError for String {
    fn text(&self) -> String {
        self.clone()
    }
}

impl ServiceError for Infallible {
    fn text(&self) -> String {
        match *self {}
    }
}

/// The codes by which brokers say what happened to a request.
const OF_BROKERS: [u16; 9] = [
    code::FORBIDDEN,
    code::NO_WORKER,
    code::NOT_STARTED,
    code::TOO_LARGE,
    code::BUSY,
    code::CANCELLED,
    code::WORKER_LOST,
    code::STOPPING,
    code::TIMED_OUT,
];

/// The error as it is sent to a client whose request had this format.
pub(crate) fn told(error: &impl ServiceError, codec: Codec) -> HandlerError {
    let code = Some(error.code()).filter(|code| !OF_BROKERS.contains(code));
    let details = match error.details() {
        Some(Details(details)) => details.tell(codec, error.kind()),
        None => ().tell(codec, error.kind()),
    };
    let details = details.or_else(|reason| {
        log::warn!(kind = error.kind(), codec:%; "the details of an error are left out: {reason}");
        ().tell(codec, error.kind())
    });
    let failed = HandlerError::new(code.unwrap_or(code::FAILED), error.text());
    match details {
        Ok(details) => failed.details(details),
        Err(_) => failed,
    }
}

#[cfg(all(test, feature = "json"))]
mod tests {
    use super::*;

    #[test]
    fn a_code_of_brokers_is_sent_as_500() {
        for (code, sent) in [(404, 500), (504, 500), (422, 422), (400, 400)] {
            assert_eq!(told(&Failure::new("k", "t").with_code(code), Codec::Json).code(), sent);
        }
    }

    #[test]
    fn details_that_cannot_be_encoded_are_left_out() {
        let map = std::collections::BTreeMap::from([((1, 2), 3)]);
        let error = told(&Failure::new("k", "t").with_details(map), Codec::Json);
        assert_eq!(error.details, Some(Body::from(r#"{"kind":"k","details":null}"#)));
    }

    #[test]
    fn every_error_becomes_a_failure_and_a_text_is_one() {
        let failure = Failure::from("x".parse::<u32>().unwrap_err());
        assert_eq!((failure.kind(), failure.code()), ("failed", 500));
        assert_eq!(told(&"no".to_owned(), Codec::Json).text(), "no");
    }
}
