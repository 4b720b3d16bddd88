#[erps::protocol]
trait Jobs {
    async fn total() -> u64;

    async fn submit(job: String) -> Result<u64, String>;
}

#[derive(Default)]
struct Queue;

#[erps::server]
impl Jobs for Queue {
    async fn total(&mut self) -> u64 {
        7
    }
}

fn main() {}
