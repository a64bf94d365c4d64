//! Has a thousand calls under way at once over one connection.

use majordomo_client::{CallError, Client};

fn main() -> Result<(), CallError> {
    let client = Client::connect("tcp://127.0.0.1:5555")?;
    let calls: Result<Vec<_>, _> =
        (0..1_000).map(|number| client.submit("echo", number.to_string())).collect();
    let mut bytes = 0;
    for call in calls? {
        bytes += call.wait()?.size();
    }
    println!("1000 replies, {bytes} bytes");
    Ok(())
}
