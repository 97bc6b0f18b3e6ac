package inspect

import (
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"slices"
	"strings"
	"time"
	"yatagarasu/gateway/auth"
	"yatagarasu/gateway/config"
	"yatagarasu/gateway/flags"
)

// tokenUsage is the help of the token command, before its flags.
const tokenUsage = `Mints a token for trying a private bucket whose key is a secret (HS256, HS384,
HS512). The token alone goes to standard output, notes to standard error.

  yatagarasu token -config config.yaml -bucket private -claim role=admin -exp 1h

A claim's value is JSON if it parses as JSON (3, true, ["a"]), else a string.
`

// Token runs "yatagarasu token" with args, which follow the word token. It
// returns an exit code: 0 for a token, 1 where there can be none, 2 for wrong
// arguments.
func Token(args []string, stdout, stderr io.Writer) int {
	var (
		configPath, bucketName string
		lifetime               time.Duration
	)
	claims := make(claimFlags)
	fs := flag.NewFlagSet("token", flag.ContinueOnError)
	fs.SetOutput(stderr)
	group := flags.Group{Title: "Flags", Names: []string{"config", "bucket", "claim", "exp"}}
	fs.StringVar(&configPath, "config", "", "Path of the configuration `file` whose secret signs. Required")
	fs.StringVar(&bucketName, "bucket", "", "`Name` of the bucket to read. May be left out if one bucket alone is private")
	fs.Var(claims, "claim", "A claim as `name=value`; may be repeated. sub is \"dev\" unless given, iss and aud are what the configuration wants")
	fs.DurationVar(&lifetime, "exp", time.Hour, "How long the token is valid from now. Negative: it has expired")
	fs.Usage = func() {
		fmt.Fprint(stderr, tokenUsage)
		flags.Print(stderr, fs, []flags.Group{group})
	}
	if err := fs.Parse(args); err != nil {
		if errors.Is(err, flag.ErrHelp) {
			return 0
		}
		return 2
	}
	switch {
	case fs.NArg() > 0:
		fmt.Fprintf(stderr, "yatagarasu token: unexpected argument %q; claims are given as -claim name=value\n", fs.Arg(0))
		return 2
	case configPath == "":
		fmt.Fprintln(stderr, "yatagarasu token: -config is required: yatagarasu token -config config.yaml -bucket NAME")
		return 2
	}
	c, err := config.Load(configPath, os.LookupEnv)
	if err != nil {
		fmt.Fprintln(stderr, err)
		return 1
	}
	token, notes, err := mint(c, bucketName, claims, lifetime)
	if err != nil {
		fmt.Fprintln(stderr, "yatagarasu token:", err)
		return 1
	}
	for _, note := range notes {
		fmt.Fprintln(stderr, "note:", note)
	}
	fmt.Fprintln(stdout, token)
	return 0
}

func mint(c *config.Config, name string, claims claimFlags, lifetime time.Duration) (token string, notes []string, err error) {
	b, err := privateBucket(c, name)
	if err != nil {
		return "", nil, err
	}
	v, err := auth.NewVerifier(b.Auth.JWT, auth.Options{})
	if err != nil {
		return "", nil, err
	}
	return auth.NewPolicy(&b.Auth, b.Name, v, auth.NewTokenCache(0, 0)).Mint(claims, time.Now(), lifetime)
}

// privateBucket returns the bucket of this name, or the only private one.
func privateBucket(c *config.Config, name string) (*config.Bucket, error) {
	var private []string
	for i := range c.Buckets {
		if c.Buckets[i].Auth.Enabled {
			private = append(private, c.Buckets[i].Name)
		}
	}
	if len(private) == 0 {
		return nil, errors.New("no bucket of the file is private; none needs a token")
	}
	if name == "" && len(private) == 1 {
		name = private[0]
	}
	i := slices.IndexFunc(c.Buckets, func(b config.Bucket) bool { return b.Name == name })
	switch {
	case name == "":
		return nil, fmt.Errorf("-bucket is required: the private buckets are %s", strings.Join(private, ", "))
	case i < 0:
		return nil, fmt.Errorf("there is no bucket %q; the private buckets are %s", name, strings.Join(private, ", "))
	case !c.Buckets[i].Auth.Enabled:
		return nil, fmt.Errorf("the bucket %q is public; the private buckets are %s", name, strings.Join(private, ", "))
	}
	return &c.Buckets[i], nil
}

// claimFlags are the claims given as -claim name=value.
type claimFlags map[string]json.RawMessage

// String implements flag.Value.
func (claimFlags) String() string { return "" }

// Set implements flag.Value.
func (c claimFlags) Set(s string) error {
	name, value, ok := strings.Cut(s, "=")
	switch {
	case !ok || name == "":
		return errors.New("write name=value, such as role=admin")
	case c[name] != nil:
		return fmt.Errorf("the claim %q is given twice", name)
	case name == "exp" || name == "iat":
		return fmt.Errorf("%q is set by -exp", name)
	}
	if json.Valid([]byte(value)) {
		c[name] = json.RawMessage(value)
		return nil
	}
	text, err := json.Marshal(value)
	c[name] = text
	return err
}
