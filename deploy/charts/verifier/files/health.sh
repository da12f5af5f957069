# What `helm test` runs: every URL given has to answer within a minute.
for url; do
  tries=0
  until answer=$(wget -q -T 5 -O - "$url"); do
    tries=$((tries + 1))
    if [ "$tries" -ge 30 ]; then
      echo "$url does not answer"
      exit 1
    fi
    sleep 2
  done
  echo "$url answers"
done
