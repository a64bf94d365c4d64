//! A typed service: methods that take and give values.

use majordomo_worker::{Error, Failure, TypedResponder, TypedService, Worker};

#[derive(serde::Deserialize)]
struct Divide {
    a: i64,
    b: i64,
}

fn divide(Divide { a, b }: Divide) -> Result<i64, Failure> {
    a.checked_div(b).ok_or_else(|| Failure::new("undefined", format!("{a} / {b}")))
}

fn divisors(number: u64, divisors: &mut TypedResponder<u64>) -> Result<(), Failure> {
    for divisor in (1..=number).filter(|divisor| number.is_multiple_of(*divisor)) {
        divisors.send(&divisor)?;
    }
    Ok(())
}

fn main() -> Result<(), Error> {
    let calc = TypedService::new("calc")
        .version("1.0")
        .description("Whole numbers.")
        .method("divide", divide)
        .streaming("divisors", divisors);
    let worker = Worker::builder().broker("tcp://127.0.0.1:5555").serve(calc.into_service());
    println!("stopped: {:?}", worker.run()?);
    Ok(())
}
