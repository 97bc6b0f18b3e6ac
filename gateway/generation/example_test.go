package generation_test

import (
	"fmt"
	"sync/atomic"
	"time"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/credentials"
	"yatagarasu/gateway/generation"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/pool"
)

func Example() {
	c, err := config.Parse("config.yaml", []byte(`
buckets:
  - name: photos
    path_prefix: /img
    s3: {bucket: photos, region: eu-west-1, access_key: AK, secret_key: SK}
    cache: {enabled: true}
`), func(string) (string, bool) { return "", false })
	if err != nil {
		fmt.Println(err)
		return
	}
	gen, err := generation.New(c, &generation.Options{
		Origins: &origin.Shared{Observer: &observe.Observer{Metrics: observe.NewMetrics()}, Buffers: pool.NewBuffers(pool.DefaultBufferSize, 0), Retrieve: credentials.New},
		Now:     time.Now, LimitClients: 1000, InFlight: new(atomic.Int64),
	}, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer generation.Close(gen)
	b, _ := gen.Table.Lookup([]byte("example.com"), []byte("/img/a/b.jpg"))
	fmt.Println("generation", gen.Number, "asks", b.Origin.Replicas[0].Address.HostPort, "for", b.Name)
	// Output: generation 1 asks photos.s3.eu-west-1.amazonaws.com:443 for photos
}
