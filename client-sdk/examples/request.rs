//! The client of the README: asks once and prints the reply.

use majordomo_client::{CallError, Client};

fn main() -> Result<(), CallError> {
    let client = Client::connect("tcp://127.0.0.1:5555")?;
    let reply = client.call("echo", "hello")?;
    println!("{}", String::from_utf8_lossy(&reply.to_bytes()));
    Ok(())
}
