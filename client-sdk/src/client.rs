//! The client that any number of threads share: what they hand to its I/O thread. What
//! happens when is decided in [`shared`](crate::shared).

use std::hash::{BuildHasher, Hasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crossbeam_channel::Sender;
use majordomo_protocol::mmi::{BROKER, BrokerReport, SERVICE};
use majordomo_protocol::{Body, Credentials, ServiceName};

use crate::builder::{ClientBuilder, WhenFull};
use crate::call::Call;
use crate::call_error::CallError;
use crate::context::Context;
use crate::mmi;
use crate::options::Options;
use crate::places::Places;
use crate::shared::driver::Driver;
use crate::shared::io::Submit;
use crate::shared::wanted::Wanted;
use crate::shared::{Counts, Dialog, Request, Settings};
use crate::slot::{self, Pending, Slot};

/// A client of MDP/1.0, for any number of threads and calls at once.
///
/// It has one connection for each broker it needs, on a thread of its own. Cloning is
/// cheap and gives a handle to the same client; the last one dropped closes it, calls
/// under way included.
///
/// # Tries
///
/// A call is tried several times under one request id, so that a broker which still
/// has the request does not run it twice. Where a broker is silent, lost or stopping,
/// its calls move to the next at once. [`CallError::may_have_run`] says of each failure
/// whether to make the call anew could run it a second time.
///
/// # Example
///
/// ```no_run
/// use majordomo_client::Client;
///
/// let client = Client::builder()
///     .broker("tcp://broker-1.example:5555")
///     .broker("tcp://broker-2.example:5555")
///     .build()?;
/// let threads: Vec<_> = (0..8)
///     .map(|number| {
///         let client = client.clone();
///         std::thread::spawn(move || client.call("square", number.to_string()))
///     })
///     .collect();
/// # Ok::<(), majordomo_client::CallError>(())
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// What all handles of a client share.
pub(crate) struct Shared {
    settings: Settings,
    when_full: WhenFull,
    submits: Sender<Submit>,
    handed: Arc<Handed>,
    places: Arc<Places>,
    keys: AtomicU64,
    /// The service that was asked first: mostly the next call asks it too, and its name need
    /// not be checked anew.
    first: OnceLock<ServiceName>,
    driver: Arc<Driver>,
    thread: Option<JoinHandle<()>>,
}

/// What passes between callers and the I/O thread beside calls.
#[derive(Default)]
pub(crate) struct Handed {
    /// Calls to cancel. Each stands here at most once, and all are taken at once, so
    /// there are about as many as may be outstanding.
    cancelled: Mutex<Vec<u64>>,
    counts: Mutex<Counts>,
    pub(crate) closed: AtomicBool,
}

impl Handed {
    pub(crate) fn cancelled(&self) -> MutexGuard<'_, Vec<u64>> {
        self.cancelled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Client {
    /// A client of the broker at `endpoint`, with the default settings.
    ///
    /// Does not block: it connects at the first call, which is also where an endpoint
    /// shows itself as unreachable.
    ///
    /// # Errors
    ///
    /// [`CallError::Endpoint`] and [`CallError::Start`].
    pub fn connect(endpoint: impl Into<String>) -> Result<Self, CallError> {
        Self::builder().broker(endpoint).build()
    }

    /// A client with other settings.
    pub fn builder() -> ClientBuilder {
        ClientBuilder::new()
    }

    pub(crate) fn start(
        settings: Settings,
        when_full: WhenFull,
        credentials: Credentials,
        context: Option<zmq::Context>,
    ) -> Result<Self, CallError> {
        // The hasher's keys come from the system's randomness.
        let seed = RandomState::new().build_hasher().finish();
        let settings = settings.checked()?;
        let wanted = Wanted::new(&settings);
        let dialog = Dialog::with_outlet(settings.clone(), seed, wanted)?;
        let (submits, taken) = crossbeam_channel::bounded(settings.outstanding_max);
        let handed = Arc::new(Handed::default());
        let context = Context::new(context, &settings.endpoints);
        let driver = Driver::new(context, credentials, dialog, taken, handed.clone());
        let driver = Arc::new(driver.map_err(CallError::Start)?);
        let run = driver.clone();
        let thread = thread::Builder::new().name("majordomo-client".to_owned());
        let thread = thread.spawn(move || run.run()).map_err(CallError::Start)?;
        let places = Places::new(settings.outstanding_max, settings.outstanding_bytes_max);
        let places = Arc::new(places);
        let keys = AtomicU64::new(1);
        let thread = Some(thread);
        let first = OnceLock::new();
        let shared =
            Shared { settings, when_full, submits, handed, places, keys, first, driver, thread };
        Ok(Client { shared: Arc::new(shared) })
    }

    /// Asks a service and returns its reply; blocks at most until the deadline.
    ///
    /// A reply in parts is joined: their frames, in order, before those of the last.
    ///
    /// # Errors
    ///
    /// [`CallError`]; all its variants but those of a client that cannot be made.
    pub fn call(&self, service: &str, body: impl Into<Body>) -> Result<Body, CallError> {
        self.call_with(service, body, &Options::default())
    }

    /// As [`Client::call`], with options of its own.
    ///
    /// # Errors
    ///
    /// As [`Client::call`], and [`CallError::Setting`].
    pub fn call_with(
        &self,
        service: &str,
        body: impl Into<Body>,
        options: &Options,
    ) -> Result<Body, CallError> {
        let call = self.hand_over(service, body.into(), options, false)?;
        self.shared.driver.drive(call.slot());
        call.wait()
    }

    /// Asks a service and goes on. Blocks only where as many calls are outstanding, or as
    /// many bytes, as may be; see [`ClientBuilder::when_full`].
    ///
    /// # Errors
    ///
    /// [`CallError::ServiceName`], [`CallError::BodyOverLimit`], [`CallError::Full`] and
    /// [`CallError::Closed`]; the call gives the others.
    pub fn submit(&self, service: &str, body: impl Into<Body>) -> Result<Call, CallError> {
        self.submit_with(service, body, &Options::default())
    }

    /// As [`Client::submit`], with options of its own.
    ///
    /// # Errors
    ///
    /// As [`Client::submit`], and [`CallError::Setting`].
    pub fn submit_with(
        &self,
        service: &str,
        body: impl Into<Body>,
        options: &Options,
    ) -> Result<Call, CallError> {
        let call = self.hand_over(service, body.into(), options, false)?;
        self.shared.driver.ring();
        Ok(call)
    }

    /// Asks a service and wants no answer, not even an error. Blocks as
    /// [`Client::submit`] does.
    ///
    /// The request is sent once a broker is connected, and given up at its deadline, which
    /// is logged and [counted](Counts::unsent); one that a broker had taken when it was lost
    /// is not sent again.
    ///
    /// # Errors
    ///
    /// As [`Client::submit`].
    pub fn send(&self, service: &str, body: impl Into<Body>) -> Result<(), CallError> {
        self.send_with(service, body, &Options::default())
    }

    /// As [`Client::send`], with options of its own.
    ///
    /// # Errors
    ///
    /// As [`Client::send`], and [`CallError::Setting`].
    pub fn send_with(
        &self,
        service: &str,
        body: impl Into<Body>,
        options: &Options,
    ) -> Result<(), CallError> {
        self.hand_over(service, body.into(), options, true)?.detach();
        self.shared.driver.ring();
        Ok(())
    }

    /// Whether at least one worker is registered for `service` (RFC 8, `mmi.service`). It
    /// may have gone, or another come, before the next call. Blocks as a call does.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]; [`CallError::Violation`] for an answer other than 200 and 404.
    ///
    #[cfg_attr(feature = "testing", doc = "```")]
    #[cfg_attr(not(feature = "testing"), doc = "```ignore")]
    /// # use majordomo_client::testing::Script;
    /// # let broker = Script::new().reply("mmi.service", "echo", "200").start();
    /// # let client = broker.client();
    /// assert!(client.lookup("echo")?);
    /// # Ok::<(), majordomo_client::CallError>(())
    /// ```
    pub fn lookup(&self, service: &str) -> Result<bool, CallError> {
        let service = ServiceName::new(service)?;
        Ok(mmi::found(self.call(SERVICE, service.as_str())?)?)
    }

    /// The state of the broker, its services and workers (`mmi.broker`, which is
    /// Majordomo's own). Blocks as a call does.
    ///
    /// # Errors
    ///
    /// As [`Client::call`]; [`CallError::Violation`] from a broker of another make, which
    /// does not know this service.
    pub fn broker_report(&self) -> Result<BrokerReport, CallError> {
        Ok(mmi::report(self.call(BROKER, "")?)?)
    }

    /// What has happened so far, and how many calls are under way, as the I/O thread
    /// last saw it.
    pub fn counts(&self) -> Counts {
        *self.shared.handed.counts()
    }

    /// How many calls were submitted and have not ended.
    pub fn outstanding(&self) -> usize {
        self.shared.places.taken()
    }

    /// Closes the client, whatever handles there are. Calls under way end as
    /// [`CallError::Closed`], at once or, where a broker takes nothing more for a while,
    /// within a second; what wants no reply is still sent if that is possible within a
    /// second. Does not block; dropping the last handle does, for at most two seconds.
    pub fn close(&self) {
        self.shared.close();
    }

    /// Puts a call where it will be found. Who does so sees to it that somebody looks.
    fn hand_over(
        &self,
        service: &str,
        body: Body,
        options: &Options,
        no_reply: bool,
    ) -> Result<Call, CallError> {
        let shared = &self.shared;
        let service = shared.service(service)?;
        let mut request = shared.settings.request(service, body, options)?;
        request.no_reply = no_reply;
        let wait = match shared.when_full {
            WhenFull::Wait => request.deadline,
            WhenFull::Error => Duration::ZERO,
        };
        let place = Places::take(&shared.places, weight(&request), wait)?;
        let slot = Arc::new(Slot::new(request.service.clone(), no_reply));
        let pending = Pending::new(slot.clone(), place);
        let key = shared.keys.fetch_add(1, Ordering::Relaxed);
        // There is room for as many as there are places.
        if shared.handed.closed.load(Ordering::Acquire)
            || shared.submits.try_send(Submit { key, request, pending }).is_err()
        {
            return Err(CallError::Closed { may_have_run: false });
        }
        Ok(Call::new(key, slot, shared.clone()))
    }
}

/// About what a call holds in bytes beside what every call does.
fn weight(request: &Request) -> usize {
    slot::weight(&request.body) + request.metadata.as_bytes().len()
}

impl Shared {
    /// The service of this name.
    fn service(&self, name: &str) -> Result<ServiceName, CallError> {
        if let Some(first) = self.first.get().filter(|first| first.as_str() == name) {
            return Ok(first.clone());
        }
        let service = ServiceName::new(name)?;
        // It is the first, or there is one.
        let _ = self.first.set(service.clone());
        Ok(service)
    }

    pub(crate) fn cancel(&self, key: u64) {
        self.handed.cancelled().push(key);
        self.driver.ring();
    }

    fn close(&self) {
        self.handed.closed.store(true, Ordering::Release);
        self.driver.ring();
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.close();
        let Some(thread) = self.thread.take() else { return };
        // A waker that the I/O thread calls may drop the last handle.
        if thread.thread().id() != thread::current().id() && thread.join().is_err() {
            log::error!("the client's I/O thread panicked");
        }
    }
}

impl std::fmt::Debug for Client {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Client").field("settings", &self.shared.settings).finish_non_exhaustive()
    }
}
