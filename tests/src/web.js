// An HTTP server that finishes what it has begun when it is told to end. PORT is where it listens, its argument its version.
const http = require("http");

const { PORT, WOCUT_WORKER = "-" } = process.env;
const name = `${PORT} ${process.argv[2]} ${WOCUT_WORKER} ${process.pid}`;
const server = http.createServer((_request, answer) => {
  answer.writeHead(200, { "Content-Length": name.length, Connection: "close" });
  answer.end(name);
});
server.listen({ port: Number(PORT), host: "::", backlog: 1024 });
process.on("SIGTERM", () => server.close(() => process.exit(0)));
