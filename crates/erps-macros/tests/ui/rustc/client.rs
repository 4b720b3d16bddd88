#[erps::protocol]
trait Jobs {
    async fn total() -> u64;

    async fn submit(job: String) -> Result<u64, String>;
}

#[derive(Default)]
struct Queue;

async fn run(client: erps::Client<JobsProtocol>) -> Result<(), erps::CallError> {
    let _: String = client.total().await?;
    client.submit(7).await?.unwrap();
    client.cancel(7).await?;
    Ok(())
}

fn main() {}
