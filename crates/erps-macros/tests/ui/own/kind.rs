#[erps::protocol]
trait Jobs {
    fn submit(job: String) -> u64;

    #[cast]
    fn done(id: u64) -> bool;

    #[push]
    async fn paused();

    #[cast]
    #[push]
    fn resumed();

    #[reply_later]
    async fn next() -> u64;
}

fn main() {}
