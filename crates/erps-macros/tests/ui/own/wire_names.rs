#[erps::protocol]
trait Twice {
    async fn submit() -> u64;

    #[wire(name = "submit")]
    async fn add() -> u64;
}

#[erps::protocol]
trait Alias {
    #[wire(alias = "add")]
    async fn submit() -> u64;

    async fn add() -> u64;
}

#[erps::protocol]
trait Similar {
    async fn send_all();

    async fn send__all();
}

#[erps::protocol]
trait Options {
    #[wire(rename = "add")]
    async fn submit() -> u64;

    #[wire(name = "")]
    async fn total() -> u64;

    #[wire(name = "a", name = "b")]
    async fn list() -> u64;
}

// A cast may have the name of a call.
#[erps::protocol]
trait Fine {
    async fn submit() -> u64;

    #[cast]
    #[wire(name = "submit")]
    fn submit_only();
}

fn main() {}
