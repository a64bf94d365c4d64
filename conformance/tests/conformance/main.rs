//! The program against our broker and SDKs, which it must find without fault, and against
//! a broker, workers and clients with one fault each, of which it must find that one.

mod broker;
mod faulty;
mod program;
mod small_broker;
mod subjects;
mod tampered;
