package listing_test

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"time"

	"yatagarasu/gateway/config"
	"yatagarasu/gateway/credentials"
	"yatagarasu/gateway/listing"
	"yatagarasu/gateway/media"
	"yatagarasu/gateway/observe"
	"yatagarasu/gateway/origin"
	"yatagarasu/gateway/web"
	"yatagarasu/pool"
)

func Example() {
	s3 := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		io.WriteString(w, `<ListBucketResult><Contents><Key>a/b.txt</Key><Size>7</Size></Contents><Contents><Key>a/secret.txt</Key></Contents></ListBucketResult>`)
	}))
	defer s3.Close()
	c, err := config.Parse("config.yaml", []byte(fmt.Sprintf(`
buckets:
  - name: files
    path_prefix: /
    s3: {bucket: files, region: eu-west-1, endpoint: %q, access_key: AK, secret_key: SK}
    listing: {enabled: true, formats: [json], hide: ["secret*"]}
`, s3.URL)), func(string) (string, bool) { return "", false })
	if err != nil {
		fmt.Println(err)
		return
	}
	shared := &origin.Shared{Observer: &observe.Observer{Metrics: observe.NewMetrics()}, Buffers: pool.NewBuffers(pool.DefaultBufferSize, 0), Retrieve: credentials.New}
	bucket, err := origin.NewBucket("files", &c.Buckets[0].S3, media.New(false, nil), shared, false, nil)
	if err != nil {
		fmt.Println(err)
		return
	}
	defer bucket.Close()
	site := web.New(&c.Buckets[0].Site, c.Buckets[0].PathPrefix, func([]byte) bool { return false })
	pages := listing.New(&listing.Options{Origin: bucket, Listing: site.Listing, Now: time.Now}, nil)
	page, err := pages.Write(&listing.Query{Folder: []byte("a/"), Notes: new(observe.Upstream)})
	if err != nil {
		fmt.Println(err)
		return
	}
	fmt.Printf("%s", page.Body.Bytes)
	// Output: {"folder":"a/","entries":[{"name":"b.txt","key":"a/b.txt","type":"file","size":7,"link":"./b.txt"}]}
}
