//! Asks the service of the worker SDK's example `calc`, and prints what it says.

use majordomo_client::{Client, Codec, TypedError};

#[derive(serde::Serialize)]
struct Divide {
    a: i64,
    b: i64,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let calc = Client::connect("tcp://127.0.0.1:5555")?.typed("calc", Codec::Json);

    let quotient: i64 = calc.call("divide", &Divide { a: 12, b: 4 })?;
    println!("12 / 4 = {quotient}");

    for divisor in calc.stream::<u64>("divisors", &12)? {
        println!("12 is divisible by {}", divisor?);
    }

    match calc.call::<i64>("divide", &Divide { a: 1, b: 0 }) {
        Err(TypedError::Remote { kind: Some(kind), text, .. }) => println!("{kind}: {text}"),
        other => println!("{other:?}"),
    }
    Ok(())
}
