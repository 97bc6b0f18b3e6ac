package config_test

import (
	"fmt"

	"yatagarasu/gateway/config"
)

func ExampleParse() {
	env := func(name string) (string, bool) {
		v, ok := map[string]string{"SECRET": "wJalrXUtnFEMI"}[name]
		return v, ok
	}
	c, err := config.Parse("config.yaml", []byte(`
buckets:
  - name: products
    path_prefix: /products
    s3: { bucket: my-products, region: us-east-1, access_key: AKIA, secret_key: "${SECRET}" }
    cache: { enabled: true, max_size: 64MiB }
`), env)
	if err != nil {
		fmt.Println(err)
		return
	}
	b := c.Buckets[0]
	fmt.Println(b.Name, b.S3.Addressing, b.S3.SecretKey, len(b.S3.SecretKey.Reveal()), b.Cache.MaxSize, b.Cache.TTL)

	_, err = config.Parse("config.yaml", []byte(`
server:
  adress: ":8080"
buckets:
  - name: products
    path_prefix: products
    s3: { bucket: my-products, region: us-east-1, access_key: AKIA, secret_key: "${NO_SUCH}" }
`), env)
	fmt.Println(err)

	// Output:
	// products virtual *** 13 64MiB 1h0m0s
	// config.yaml:3:3: server.adress: unknown key; did you mean address?
	// config.yaml:6:18: buckets[0].path_prefix: does not begin with "/"; put a "/" before it
	// config.yaml:7:81: buckets[0].s3.secret_key: the variable NO_SUCH is not set; set it in the environment, or write ${NO_SUCH:-default}
}
