#[erps::protocol]
trait Jobs {
    async fn total() -> u64;
}

struct Queue;

#[erps::server]
impl Jobs for Queue {
    async fn total(&mut self) -> u64 {
        7
    }
}

fn main() {}
