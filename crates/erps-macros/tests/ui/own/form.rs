#[erps::protocol]
trait Jobs {
    async fn submit<T>(job: T) -> u64;

    async fn total() -> u64 {
        7
    }

    const LIMIT: u64 = 7;

    type Job;
}

#[erps::protocol]
trait Generic<T> {
    async fn submit(job: T) -> u64;
}

#[erps::protocol]
trait Sub: Clone {
    async fn total() -> u64;
}

fn main() {}
