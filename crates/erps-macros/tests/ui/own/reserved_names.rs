#[erps::protocol]
trait Jobs {
    async fn status() -> u64;

    async fn init();

    #[cast]
    fn disconnect();

    #[push]
    fn stop();
}

// The name on the wire is free.
#[erps::protocol]
trait Renamed {
    #[wire(name = "status")]
    async fn job_status() -> u64;
}

fn main() {}
