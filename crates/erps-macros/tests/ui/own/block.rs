#[erps::protocol]
trait Jobs {
    async fn total() -> u64;

    async fn submit(job: String) -> Result<u64, String>;
}

#[derive(Default)]
struct Queue;

#[erps::server]
impl Queue {
    async fn total(&mut self) -> u64 {
        7
    }
}

#[erps::server]
impl Jobs for Queue {
    async fn handle_call(&mut self) {}
}

struct Seeded;

#[erps::server]
impl Jobs for Seeded {
    type Seed = u64;
}

struct Typed;

#[erps::server]
impl Jobs for Typed {
    type State = u64;
}

struct Associated;

#[erps::server]
impl Jobs for Associated {
    async fn helper() {}
}

struct Init;

#[erps::server]
impl Jobs for Init {
    async fn init(&mut self) {}
}

struct Handler;

#[erps::handler]
impl Jobs for Handler {}

fn main() {}
