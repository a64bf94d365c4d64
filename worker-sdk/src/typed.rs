//! A service of methods that take and give values. How that travels is said in
//! docs/typed.md.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use majordomo_protocol::{Body, code, dump};
use serde::Serialize;

use crate::error::PartialError;
use crate::handler::{HandlerError, Service};
use crate::pool::panic_text;
use crate::request::{Finished, Request, Responder};
use crate::service_error::{Failure, ServiceError, told};
use crate::task::Task;
use majordomo_protocol::payload::{Codec, Decode, Encode, PayloadError};

/// The content type is missing or unknown.
const UNKNOWN_CONTENT_TYPE: u16 = 415;
/// The service has no such method.
const UNKNOWN_METHOD: u16 = 501;

/// A service whose methods take and give what serde can read and write.
///
/// A request that is no such value is answered with 400, the field and the reason; an
/// unknown method with 501, an unknown content type with 415. Every client says in which
/// format it asks, and is answered in the same.
///
#[cfg_attr(feature = "json", doc = "```")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use majordomo_worker::{Failure, TypedService, Worker};
///
/// #[derive(serde::Deserialize)]
/// struct Divide {
///     a: i64,
///     b: i64,
/// }
///
/// let calc = TypedService::new("calc")
///     .version("1.2")
///     .description("Whole numbers.")
///     .method("divide", |request: Divide| {
///         let Divide { a, b } = request;
///         a.checked_div(b).ok_or_else(|| Failure::new("undefined", format!("{a} / {b}")))
///     });
/// let worker = Worker::builder().serve(calc.into_service().concurrency(4)).build()?;
/// # Ok::<(), majordomo_worker::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "it is served once into_service() has gone to a worker"]
pub struct TypedService {
    name: String,
    version: Option<String>,
    description: Option<String>,
    methods: BTreeMap<String, Arc<dyn Method>>,
}

/// One method, with its types hidden.
trait Method: Send + Sync {
    fn answer(&self, call: Call) -> Result<Finished, HandlerError>;
}

impl<F> Method for F
where
    F: Fn(Call) -> Result<Finished, HandlerError> + Send + Sync,
{
    fn answer(&self, call: Call) -> Result<Finished, HandlerError> {
        self(call)
    }
}

/// One call of a method.
struct Call {
    codec: Codec,
    /// Its body was taken out.
    request: Request,
    body: Body,
    responder: Responder,
}

/// The value in the body of a request.
fn value<Req: Decode>(codec: Codec, body: Body) -> Result<Req, HandlerError> {
    #[derive(Serialize)]
    struct Where {
        field: Option<String>,
        reason: String,
    }
    Req::decode(codec, body).map_err(|error| {
        let field = error.field().map(str::to_owned);
        let details = Where { field, reason: error.reason().to_owned() };
        let failure = Failure::new("invalid_request", error.to_string());
        told(&failure.with_code(code::MALFORMED).with_details(details), codec)
    })
}

/// Calls what the service's author wrote; an error and a panic become one that is told.
fn guarded<T, E: ServiceError>(
    task: &Task,
    codec: Codec,
    method: impl FnOnce() -> Result<T, E>,
) -> Result<T, HandlerError> {
    match catch_unwind(AssertUnwindSafe(method)) {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(error)) => Err(told(&error, codec)),
        Err(panic) => {
            task.panicked();
            let text = format!("the handler panicked: {}", panic_text(&*panic));
            Err(told(&Failure::new("panic", text), codec))
        }
    }
}

impl TypedService {
    /// A service without methods; for its name see [`Service::new`].
    pub fn new(name: impl Into<String>) -> Self {
        TypedService {
            name: name.into(),
            version: None,
            description: None,
            methods: BTreeMap::new(),
        }
    }

    /// Which version of the service this is.
    pub fn version(mut self, version: impl Into<String>) -> Self {
        self.version = Some(version.into());
        self
    }

    /// What the service does, for people.
    pub fn description(mut self, description: impl Into<String>) -> Self {
        self.description = Some(description.into());
        self
    }

    /// A method with one reply. A second one of the same name takes its place.
    ///
    /// Where [`Encoded`](crate::Encoded) stands for the request or the reply, it is passed
    /// through unread.
    pub fn method<Req, Rep, E, F>(self, name: impl Into<String>, method: F) -> Self
    where
        Req: Decode + 'static,
        Rep: Encode + 'static,
        E: ServiceError + 'static,
        F: Fn(Req) -> Result<Rep, E> + Send + Sync + 'static,
    {
        self.method_with(name, move |value, _: &Request| method(value))
    }

    /// As [`TypedService::method`], for a method that looks at the request, too: at its
    /// metadata, at the time left, or whether it was cancelled. Its body has been taken
    /// out.
    ///
    #[cfg_attr(feature = "json", doc = "```")]
    #[cfg_attr(not(feature = "json"), doc = "```ignore")]
    /// use majordomo_worker::{Failure, Request, TypedService};
    ///
    /// let sum = |numbers: Vec<u64>, request: &Request| {
    ///     let mut sum = 0;
    ///     for number in numbers {
    ///         if request.is_cancelled() {
    ///             return Err(Failure::new("cancelled", "nobody waits"));
    ///         }
    ///         sum += number;
    ///     }
    ///     Ok(sum)
    /// };
    /// let service = TypedService::new("slow").method_with("sum", sum);
    /// ```
    pub fn method_with<Req, Rep, E, F>(self, name: impl Into<String>, method: F) -> Self
    where
        Req: Decode + 'static,
        Rep: Encode + 'static,
        E: ServiceError + 'static,
        F: Fn(Req, &Request) -> Result<Rep, E> + Send + Sync + 'static,
    {
        self.add(name.into(), move |call: Call| {
            let Call { codec, request, body, responder } = call;
            let value = value::<Req>(codec, body)?;
            let reply = guarded(responder.task(), codec, || method(value, &request))?;
            let body = reply.encode(codec).map_err(|error| {
                let text = format!("the reply cannot be encoded: {error}");
                told(&Failure::new("invalid_reply", text), codec)
            })?;
            Ok(responder.finish(body))
        })
    }

    /// A method whose reply is any number of values.
    ///
    #[cfg_attr(feature = "json", doc = "```")]
    #[cfg_attr(not(feature = "json"), doc = "```ignore")]
    /// use majordomo_worker::{Failure, TypedResponder, TypedService};
    ///
    /// let calc = TypedService::new("calc").streaming(
    ///     "divisors",
    ///     |number: u64, divisors: &mut TypedResponder<u64>| -> Result<(), Failure> {
    ///         for divisor in (1..=number).filter(|divisor| number.is_multiple_of(*divisor)) {
    ///             divisors.send(&divisor)?;
    ///         }
    ///         Ok(())
    ///     },
    /// );
    /// ```
    pub fn streaming<Req, Rep, E, F>(self, name: impl Into<String>, method: F) -> Self
    where
        Req: Decode + 'static,
        Rep: Encode + 'static,
        E: ServiceError + 'static,
        F: Fn(Req, &mut TypedResponder<Rep>) -> Result<(), E> + Send + Sync + 'static,
    {
        self.add(name.into(), move |call: Call| {
            let Call { codec, request, body, responder } = call;
            let value = value::<Req>(codec, body)?;
            let task = responder.task().clone();
            let mut replies = TypedResponder { responder, request, codec, of: PhantomData };
            guarded(&task, codec, || method(value, &mut replies))?;
            Ok(replies.responder.finish(""))
        })
    }

    fn add(
        mut self,
        name: String,
        method: impl Fn(Call) -> Result<Finished, HandlerError> + Send + Sync + 'static,
    ) -> Self {
        self.methods.insert(name, Arc::new(method));
        self
    }

    /// The service for a worker, with one place and no time limit, unless it is told
    /// otherwise there. Its READY says `version` and `description` where they were
    /// given, and `methods`, their names in order with commas between: together at most
    /// 12 KiB.
    pub fn into_service(self) -> Service {
        let TypedService { name, methods, version, description } = self;
        let names: Vec<&str> = methods.keys().map(String::as_str).collect();
        let said = [("version", version), ("description", description)];
        let mut metadata: Vec<_> =
            said.into_iter().filter_map(|(key, text)| Some((key, text?))).collect();
        metadata.push(("methods", names.join(",")));
        let handler = move |mut request: Request, responder: Responder| {
            let codec = codec_of(&request)?;
            let method = method_of(&methods, &request, codec)?;
            let body = std::mem::replace(&mut request.body, Body::from(""));
            method.answer(Call { codec, request, body, responder })
        };
        Service { metadata, ..Service::streaming(name, handler) }
    }
}

impl From<TypedService> for Service {
    fn from(service: TypedService) -> Self {
        service.into_service()
    }
}

impl fmt::Debug for TypedService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedService")
            .field("name", &self.name)
            .field("version", &self.version)
            .field("methods", &self.methods.keys())
            .finish_non_exhaustive()
    }
}

fn codec_of(request: &Request) -> Result<Codec, HandlerError> {
    let found = request.metadata().value("content-type");
    found.and_then(Codec::of).ok_or_else(|| {
        let found = match found {
            None => "missing".to_owned(),
            Some(found) => format!("{:?}", dump(found).to_string()),
        };
        let known: Vec<_> = Codec::ALL.iter().map(|codec| codec.content_type()).collect();
        let text = format!("content-type is {found}, but must be {}", known.join(" or "));
        HandlerError::new(UNKNOWN_CONTENT_TYPE, text)
    })
}

fn method_of<'a>(
    methods: &'a BTreeMap<String, Arc<dyn Method>>,
    request: &Request,
    codec: Codec,
) -> Result<&'a dyn Method, HandlerError> {
    #[derive(Serialize)]
    struct Known {
        methods: Vec<String>,
    }
    let found = request.metadata().value("method");
    let method = found.and_then(|name| methods.get(std::str::from_utf8(name).ok()?));
    method.map(|method| &**method).ok_or_else(|| {
        let service = request.service();
        let text = match found {
            None => format!("method is missing in the metadata of a request for {service}"),
            Some(name) => format!("{service} has no method {:?}", dump(name).to_string()),
        };
        let known = Known { methods: methods.keys().cloned().collect() };
        let failure =
            Failure::new("unknown_method", text).with_code(UNKNOWN_METHOD).with_details(known);
        told(&failure, codec)
    })
}

/// Sends the values of a reply, each on its own; see [`TypedService::streaming`].
#[derive(Debug)]
pub struct TypedResponder<Rep> {
    responder: Responder,
    request: Request,
    codec: Codec,
    of: PhantomData<fn(Rep)>,
}

impl<Rep: Encode> TypedResponder<Rep> {
    /// Sends one value. Blocks as [`Responder::partial`] does.
    ///
    /// # Errors
    ///
    /// [`SendError`]; where nobody waits any more, the method is to end.
    pub fn send(&mut self, value: &Rep) -> Result<(), SendError> {
        let body = value.encode(self.codec)?;
        Ok(self.responder.partial(body)?)
    }
}

impl<Rep> TypedResponder<Rep> {
    /// The request; its body has been taken out.
    pub fn request(&self) -> &Request {
        &self.request
    }
}

/// Why a value of a reply was not sent.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The format cannot express it. Another may be sent.
    #[error("the reply cannot be encoded: {0}")]
    Encode(#[from] PayloadError),
    /// It is too large, or nobody waits for it any more.
    #[error(transparent)]
    Partial(#[from] PartialError),
}
