//! The smallest HTTP/1.1 client that keeps a connection: what is measured is the server, not the client.

use anyhow::{Context, Result, bail};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpStream, UnixStream};

/// A connection.
pub struct Connection<S> {
    stream: S,
    buffer: Vec<u8>,
}

/// Opens one over TCP.
pub async fn tcp(address: &str) -> Result<Connection<TcpStream>> {
    let stream = TcpStream::connect(address).await.with_context(|| format!("cannot connect to {address}"))?;
    stream.set_nodelay(true)?;
    Ok(Connection { stream, buffer: Vec::new() })
}

/// Opens one over a unix socket.
pub async fn unix(path: &str) -> Result<Connection<UnixStream>> {
    let stream = UnixStream::connect(path).await.with_context(|| format!("cannot connect to {path}"))?;
    Ok(Connection { stream, buffer: Vec::new() })
}

/// A request's bytes.
pub fn request(method: &str, path: &str, token: Option<&str>, body: &str) -> Vec<u8> {
    let auth = token.map(|t| format!("Authorization: Bearer {t}\r\n")).unwrap_or_default();
    let length = body.len();
    format!(
        "{method} {path} HTTP/1.1\r\nHost: bench\r\n{auth}Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n{body}"
    )
    .into_bytes()
}

impl<S: AsyncRead + AsyncWrite + Unpin> Connection<S> {
    /// Sends a request and reads its answer: status and body.
    pub async fn call(&mut self, request: &[u8]) -> Result<(u16, Vec<u8>)> {
        self.stream.write_all(request).await?;
        let head_end = loop {
            if let Some(at) = self.buffer.windows(4).position(|w| w == b"\r\n\r\n") {
                break at + 4;
            }
            self.fill().await?;
        };
        let head = String::from_utf8_lossy(&self.buffer[..head_end]).to_ascii_lowercase();
        let status = head.split(' ').nth(1).and_then(|s| s.parse().ok()).context("no status line")?;
        self.buffer.drain(..head_end);
        let length = head.lines().find_map(|l| l.strip_prefix("content-length:")).map(str::trim);
        let body = match length.and_then(|l| l.parse::<usize>().ok()) {
            Some(length) => self.take(length).await?,
            None if status == 204 || status == 304 => Vec::new(),
            None if head.contains("transfer-encoding: chunked") => self.chunks().await?,
            None => bail!("an answer without a length"),
        };
        Ok((status, body))
    }

    async fn fill(&mut self) -> Result<()> {
        if self.stream.read_buf(&mut self.buffer).await? == 0 {
            bail!("the server closed the connection");
        }
        Ok(())
    }

    async fn take(&mut self, length: usize) -> Result<Vec<u8>> {
        while self.buffer.len() < length {
            self.fill().await?;
        }
        Ok(self.buffer.drain(..length).collect())
    }

    async fn chunks(&mut self) -> Result<Vec<u8>> {
        let mut body = Vec::new();
        loop {
            let at = loop {
                if let Some(at) = self.buffer.windows(2).position(|w| w == b"\r\n") {
                    break at;
                }
                self.fill().await?;
            };
            let size = usize::from_str_radix(String::from_utf8_lossy(&self.buffer[..at]).trim(), 16)?;
            self.buffer.drain(..at + 2);
            body.extend(self.take(size).await?);
            self.take(2).await?;
            if size == 0 {
                return Ok(body);
            }
        }
    }
}
