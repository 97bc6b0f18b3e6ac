// Yatagarasu is a read-only S3 gateway: HTTP clients ask for /prefix/key, and
// it serves the objects of many buckets under its own credentials.
package main

import (
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"

	"yatagarasu/gateway"
)

// version is set by the linker.
var version = "dev"

func main() {
	os.Exit(run(os.Args[1:], os.Stdout, os.Stderr))
}

func run(args []string, stdout, stderr io.Writer) int {
	o := gateway.NewOptions()
	o.Version = version
	fs := flag.NewFlagSet("yatagarasu", flag.ContinueOnError)
	fs.SetOutput(stderr)
	groups := o.RegisterFlags(fs)
	check := fs.Bool("check", false, "Validate the configuration file as start-up would, print every problem with its place, and exit: 0 if it is valid, 1 if not")
	explain := fs.String("explain", "", "Print which route, bucket, object key and upstream address a GET of this `URL` would get, or why it would be refused, and exit. Sends nothing")
	showVersion := fs.Bool("version", false, "Print the version and exit")
	groups[0].Names = append(groups[0].Names, "check", "explain", "version")
	fs.Usage = func() {
		fmt.Fprint(stderr, usage)
		gateway.PrintFlags(stderr, fs, groups)
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	if fs.NArg() > 0 {
		fmt.Fprintf(stderr, "yatagarasu: unexpected argument %q; flags begin with a dash, see -help\n", fs.Arg(0))
		return 2
	}
	switch {
	case *showVersion:
		fmt.Fprintln(stdout, "yatagarasu", version)
		return 0
	case o.ConfigPath == "":
		fmt.Fprintln(stderr, "yatagarasu: -config is required: yatagarasu -config config.yaml; see config.example.yaml and -help")
		return 2
	case *check:
		return gateway.Check(o, stdout, stderr)
	}
	g, err := gateway.New(o)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	if *explain != "" {
		if !g.Explain(stdout, *explain) {
			return 1
		}
		return 0
	}
	signals := make(chan os.Signal, 2)
	signal.Notify(signals, syscall.SIGINT, syscall.SIGTERM)
	if err := g.Run(signals); err != nil {
		fmt.Fprintln(stderr, "yatagarasu:", err)
		return 1
	}
	return 0
}

const usage = `Yatagarasu serves the objects of S3 buckets over HTTP, read-only.

  yatagarasu -config config.yaml            serve
  yatagarasu -config config.yaml -check     validate the file and exit
  yatagarasu -config config.yaml -explain http://localhost:8080/assets/logo.png

The file says what is served; flags tune the process and win over the file.
`
