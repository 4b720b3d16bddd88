#[erps::protocol]
trait Jobs {
    async fn total() -> u64;

    async fn submit(job: String) -> Result<u64, String>;
}

#[derive(Default)]
struct Queue;

use erps::ReplyTo;

#[erps::server]
impl Jobs for Queue {
    async fn total(&mut self, from: ReplyTo<u64>) {
        from.reply(7);
    }
}

struct Second;

#[erps::server]
impl Jobs for Second {
    #[reply_later]
    async fn total(&mut self) -> u64 {
        7
    }
}

fn main() {}
