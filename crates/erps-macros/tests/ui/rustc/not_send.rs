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
        let number = std::rc::Rc::new(7);
        std::future::ready(()).await;
        *number
    }

    async fn submit(&mut self, job: String) -> Result<u64, String> {
        Err(job)
    }
}

fn main() {}
