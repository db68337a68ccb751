# nginx on the port that the argument is, in a folder of its own beside this file.
folder=${0%/*}/$1
mkdir -p "$folder"
sed "s/PORT/$1/g" "${0%/*}/nginx.conf" > "$folder/nginx.conf"
exec nginx -p "$folder" -c nginx.conf -e error.log
