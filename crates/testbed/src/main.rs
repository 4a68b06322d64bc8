//! tmp
use testbed::{up, down, options::Options};
#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let a: Vec<String> = std::env::args().collect();
    match a[1].as_str() {
        "up" => {
            let around = up::Surroundings { cache: "/root/.cache/prunella".into(), pause: std::env::current_exe()?.with_file_name("testbed-pause"), keep: true };
            up::up(&a[2], Options::default(), &around).await?;
        }
        _ => { down::down(&a[2]).await?; }
    }
    Ok(())
}
