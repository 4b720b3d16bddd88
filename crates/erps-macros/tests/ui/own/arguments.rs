#[erps::protocol]
trait Jobs {
    async fn submit(job: &str) -> u64;

    async fn rename(id: u64, name: &[u8]);

    async fn total(&self) -> u64;

    async fn resize((id, size): (u64, u32));

    async fn list(filter: impl Fn(u64) -> bool) -> Vec<u64>;

    async fn name(id: u64) -> &'static str;

    async fn set(mut id: u64);
}

fn main() {}
