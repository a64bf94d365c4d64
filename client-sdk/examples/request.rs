//! The client of the README: asks once and prints the reply.

use majordomo_client::{BlockingClient, Error};

fn main() -> Result<(), Error> {
    let mut client = BlockingClient::connect("tcp://127.0.0.1:5555")?;
    let reply = client.request("echo", "hello")?;
    println!("{}", String::from_utf8_lossy(&reply.to_bytes()));
    Ok(())
}
