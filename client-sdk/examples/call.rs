//! Asks once and prints the reply, or whose fault it was that there is none.

use majordomo_client::{CallError, Client, Options};

fn main() -> Result<(), CallError> {
    let client = Client::connect("tcp://127.0.0.1:5555")?;
    match client.call_with("echo", "hello", &Options::new().fail_fast()) {
        Ok(reply) => println!("{}", String::from_utf8_lossy(&reply.into_bytes())),
        Err(CallError::NoWorker { service, .. }) => eprintln!("nobody serves {service}"),
        Err(CallError::Remote { code, text, .. }) => eprintln!("it failed: {code} {text}"),
        Err(error) => return Err(error),
    }
    Ok(())
}
