#[erps::protocol(name = "jobs")]
trait Unknown {
    async fn total() -> u64;
}

#[erps::protocol(version = "1.2")]
trait Short {
    async fn total() -> u64;
}

#[erps::protocol(version = "1.2.256")]
trait Large {
    async fn total() -> u64;
}

#[erps::protocol(identifier = jobs)]
trait NoText {
    async fn total() -> u64;
}

#[erps::protocol(identifier = "a name of more than thirty-six bytes, which are all")]
trait Long {
    async fn total() -> u64;
}

#[erps::protocol(accepts = "~> 1.2")]
trait Alone {
    async fn total() -> u64;
}

#[erps::protocol]
struct NoTrait;

fn main() {}
