//! The worker of the README: answers with what it was asked.

use majordomo_worker::{Error, Request, Worker};

fn main() -> Result<(), Error> {
    println!("serving echo");
    Worker::builder()
        .broker("tcp://127.0.0.1:5555")
        .service("echo", |request: Request| Ok(request.into_body()))
        .run()?;
    Ok(())
}
